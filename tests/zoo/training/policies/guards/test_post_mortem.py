"""The batch of a refused step is written out, for the first few of them."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cortexzoo.specs.recipe import MonitorSpec
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Step
from tests.zoo.training.tiny import At, Notebook, tiny_data, tiny_model, tiny_spec

BAD = {3, 5, 6, 9}


def train(folder: Path, at_most: int = 16) -> tuple[dict[int, torch.Tensor], Notebook]:
    seen: dict[int, torch.Tensor] = {}

    def refuse(trainer: TrainingLoop, step: Step) -> None:
        assert step.tokens is not None
        seen[step.number] = step.tokens.clone()
        step.refuse("not this one")

    notebook = Notebook()
    monitor = MonitorSpec(refused_batches=at_most)
    TrainingLoop(
        tiny_model(), tiny_spec(accumulation=2, monitor=monitor), tiny_data(), recorder=notebook,
        policies=[At("loss_known", BAD, refuse)], refused_batches=folder,
    ).run()  # fmt: skip
    return seen, notebook


def test_tokens_and_numbers_are_there(tmp_path: Path) -> None:
    seen, notebook = train(tmp_path / "refused")
    assert len(list((tmp_path / "refused").iterdir())) == 2 * len(BAD)
    for step in BAD:
        tokens = load_file(tmp_path / "refused" / f"step-{step:08d}.safetensors")["tokens"]
        assert torch.equal(tokens, seen[step])
        content = json.loads((tmp_path / "refused" / f"step-{step:08d}.json").read_text())
        assert (content["step"], content["reason"], content["gradient_norm"]) == (step, "not this one", "nan")
        assert content["loss"] == notebook.column("train/loss")[step]


@pytest.mark.parametrize("at_most", [0, 2])
def test_their_number_is_bounded(tmp_path: Path, at_most: int) -> None:
    train(tmp_path / "refused", at_most)
    found = sorted(path.name for path in tmp_path.glob("refused/*.json"))
    assert found == [f"step-{step:08d}.json" for step in sorted(BAD)[:at_most]]


def test_a_folder_that_cannot_be_written_is_an_event_and_nothing_more(tmp_path: Path) -> None:
    (tmp_path / "refused").write_text("a file")
    _, notebook = train(tmp_path / "refused")
    assert notebook.count("post_mortem_failed") == sorted(BAD)
    assert len(notebook.rows) == 12
