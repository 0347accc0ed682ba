"""Facts of a day: known by short-term memory until it is wiped, by long-term memory once it was consolidated."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from torch.nn.functional import one_hot

from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.studies import consolidation
from cortexzoo.harness.studies.cells import Result
from cortexzoo.specs import load_experiment
from cortexzoo.zoo.data.almanac import Fact, facts_in

SMALL = ("data=almanac", "data.source.people=6", "data.source.others=110")


@dataclass(frozen=True)
class Memory:
    short: bytes = b""
    log: bytes = b""
    pages: bytes = b""


class Notebook(torch.nn.Module):
    """Answers with what followed the same line in its memories; `forgets` the pages at each consolidation."""

    switches = ("long_term",)

    def __init__(self, forgets: bool = False) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.forgets = forgets

    def between_batches(self, state: Memory, batch_size: int) -> Memory:
        assert batch_size == 1
        return replace(state, short=b"")

    def documents_ended(self, state: Memory) -> Memory:
        return replace(state, log=state.log + state.short)

    def consolidate(self, state: Memory) -> Memory:
        return Memory(state.short, b"", (b"" if self.forgets else state.pages) + state.log)

    def forward(self, tokens: torch.Tensor, state: Memory, disabled: Collection[str] = ()) -> SimpleNamespace:
        text = bytes(tokens[0].tolist())
        known = state.short + (b"" if "long_term" in disabled else state.pages)
        following = [self._following(known, text[: place + 1]) for place in range(len(text))]
        logits = one_hot(torch.tensor(following), 256).float()[None]
        return SimpleNamespace(logits=logits, state=replace(state, short=state.short + text))

    @staticmethod
    def _following(known: bytes, line: bytes) -> int:
        found = known.find(line)
        return known[found + len(line)] if 0 <= found < len(known) - len(line) else 0


def run_of(model: Notebook) -> Run:
    spec = load_experiment("cortexgpt-stable", SMALL)
    return cast(Run, SimpleNamespace(spec=spec, path="run", load_model=lambda checkpoint: (model, Memory())))


def test_each_fact_once_in_the_order_of_its_first_statement() -> None:
    text = b"Page 1\nAb Cd, pet: hare\nAb Cd, home: Hythe\nno fact\nAb Cd, pet: hare\n"
    assert facts_in(text) == [Fact(b"Ab Cd, pet: ", b"hare"), Fact(b"Ab Cd, home: ", b"Hythe")]


def test_facts_are_moved_by_consolidation() -> None:
    found = consolidation.measured(run_of(Notebook()))
    assert (found.by_day, found.by_day_alone) == (1, 1)
    assert (found.wiped, found.moved, found.moved_off) == (0, 1, 0)
    assert found.many_days == 1


def test_earlier_days_can_be_lost() -> None:
    found = consolidation.measured(run_of(Notebook(forgets=True)))
    assert found.moved == 1
    assert found.many_days == pytest.approx(1 / consolidation.DAYS)


def test_the_table_leaves_out_what_a_model_does_not_have() -> None:
    results = {cell.label: Result(cell, [run_of(Notebook())]) for cell in consolidation.cells()}
    header, with_memory, without = consolidation.table(results)
    assert dict(zip(header, with_memory, strict=True))["wiped, consolidated"] == "1.000"
    assert dict(zip(header, without, strict=True))["kept, long-term off"] == "–"
    assert "96 facts a day" in consolidation.findings(results)[0]
