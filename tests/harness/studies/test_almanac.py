"""Answers of an almanac: right where every byte of the value is the likeliest one, from what was read before alone."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.studies.almanac import answered
from cortexzoo.specs import load_experiment
from cortexzoo.zoo.build import load_data
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.errors import DataError

SMALL = ("data=almanac", "data.source.people=6", "data.source.others=110")


class Prophet(torch.nn.Module):
    """Predicts each byte of a text, but those of the places in `wrong`; counts what is consolidated."""

    def __init__(self, text: np.ndarray, wrong: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.text = torch.from_numpy(text.astype(np.int64))
        self.wrong, self.consolidated = wrong, 0

    def between_batches(self, state: int, batch_size: int) -> int:
        assert batch_size == 1
        return state

    def consolidate(self, state: int) -> int:
        self.consolidated += 1
        return state

    def forward(self, tokens: torch.Tensor, state: int, disabled: object = ()) -> SimpleNamespace:
        assert torch.equal(tokens[0], self.text[state : state + tokens.shape[1]]), "each byte is read once, in order"
        after = state + tokens.shape[1]
        following = torch.cat([self.text, self.text[:1]])[state + 1 : after + 1].clone()
        for place in self.wrong:
            if state < place <= after:
                following[place - state - 1] = 0
        return SimpleNamespace(logits=one_hot(following, 256).float()[None], state=after)


def run_of(model: Prophet) -> Run:
    spec = load_experiment("cortexgpt-stable", SMALL)
    return cast(Run, SimpleNamespace(spec=spec, path="run", load_model=lambda checkpoint: (model, 0)))


def last_part() -> np.ndarray:
    data = load_data(load_experiment("cortexgpt-stable", SMALL))
    assert isinstance(data, TextData)
    return data.test


def test_one_wrong_byte_of_a_value_makes_one_answer_wrong() -> None:
    text = last_part()

    end_of_the_last_value = len(bytes(text).rstrip(b"\n")) - 1

    assert answered(run_of(Prophet(text))) == 1
    assert answered(run_of(Prophet(text, (end_of_the_last_value,)))) == pytest.approx(23 / 24)


def test_only_what_writes_consolidates() -> None:
    text = last_part()
    writes, reads = Prophet(text), Prophet(text)
    answered(run_of(writes))
    answered(run_of(reads), writes=False)
    assert writes.consolidated == len(text) // 4096
    assert not reads.consolidated


def test_a_run_on_another_text_is_refused() -> None:
    run: Any = SimpleNamespace(spec=load_experiment("cortexgpt-stable"), path="runs/mine")
    with pytest.raises(DataError, match="runs/mine: facts far apart need a run that was trained on an almanac"):
        answered(run)
