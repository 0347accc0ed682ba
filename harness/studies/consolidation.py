"""Facts that CortexGPT reads by day: what it answers of them before and after they move into long-term memory."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.studies.almanac import WITHOUT, cells, test_part
from cortexzoo.harness.studies.cells import Result, mean_and_spread
from cortexzoo.zoo.data.almanac import CHANCE, Fact, facts_in
from cortexzoo.zoo.models.interface import MemoryLanguageModel
from cortexzoo.zoo.training.evaluation import undisturbed

__all__ = ["PAGE", "Found", "cells", "findings", "measured", "table"]

PAGE = "sleep.md"
FACTS = 96
"""Of one day."""
DAYS, FACTS_A_DAY = 10, 32
LONG_TERM = ("long_term",)


@dataclass(frozen=True)
class Found:
    """Shares of facts answered by one model."""

    by_day: float
    """Each right after it was read, from short-term memory."""
    by_day_alone: float
    """The same without long-term memory."""
    wiped: float
    """With an empty short-term memory, before consolidation."""
    moved: float
    """With an empty short-term memory, after it."""
    moved_off: float
    """The same without long-term memory."""
    many_days: float
    """All facts of ten days, asked after the last, with a consolidation after each."""
    seconds: float
    """Of the first consolidation and of the first question after it, for which the index is built."""


def table(results: Mapping[str, Result]) -> list[tuple[str, ...]]:
    """Header and rows: shares of the facts that are answered."""
    header = (
        "run", "short-term memory kept", "kept, long-term off", "wiped", "wiped, consolidated",
        "consolidated, long-term off", f"{DAYS} days of {FACTS_A_DAY}", "seconds",
    )  # fmt: skip
    return [header, *(_row(label, [measured(run) for run in result.runs]) for label, result in results.items())]


def findings(results: Mapping[str, Result]) -> list[str]:
    """What the study was made for, in words with numbers."""
    runs = len(results[WITHOUT].runs)
    return [f"{FACTS} facts a day, each read in a session of its own, {runs} seeds; guessing is right in {CHANCE:.3f}."]


def measured(run: Run, checkpoint: str = "best") -> Found:
    """One trained model on facts of the test part. Raises `DataError` for a run that was not trained on an almanac."""
    facts = facts_in(test_part(run).tobytes())
    model, trained = run.load_model(checkpoint)
    day = facts[:FACTS]
    off = [memory for memory in LONG_TERM if memory in model.switches]
    with undisturbed(model):
        evening = _read(model, trained, day)
        by_day, by_day_alone = (_share_by_day(model, trained, day, disabled) for disabled in ((), off))
        wiped = _share(model, evening, day)
        began = time.perf_counter()
        morning = model.consolidate(evening)
        _share(model, morning, day[:1])
        seconds = time.perf_counter() - began
        moved, moved_off = (_share(model, morning, day, disabled) for disabled in ((), off))
        state, taught = trained, facts[: DAYS * FACTS_A_DAY]
        for first in range(0, len(taught), FACTS_A_DAY):
            state = model.consolidate(_read(model, state, taught[first : first + FACTS_A_DAY]))
        return Found(by_day, by_day_alone, wiped, moved, moved_off, _share(model, state, taught), seconds)


def _read(model: MemoryLanguageModel[Any], state: Any, facts: Sequence[Fact]) -> Any:
    """The memory after a day: each fact is read in a session that begins with an empty short-term memory."""
    for fact in facts:
        output = model(_tokens(model, _line(fact)), model.between_batches(state, 1))
        state = model.documents_ended(output.state)
    return state


def _share_by_day(
    model: MemoryLanguageModel[Any], state: Any, facts: Sequence[Fact], disabled: Collection[str]
) -> float:
    """Facts answered in the session that read them."""
    sessions = (model(_tokens(model, _line(fact)), model.between_batches(state, 1), disabled).state for fact in facts)
    return fmean(_answers(model, session, fact, disabled) for session, fact in zip(sessions, facts, strict=True))


def _share(model: MemoryLanguageModel[Any], state: Any, facts: Sequence[Fact], disabled: Collection[str] = ()) -> float:
    """Facts answered in new sessions, none of which is written."""
    return fmean(_answers(model, model.between_batches(state, 1), fact, disabled) for fact in facts)


def _answers(model: MemoryLanguageModel[Any], state: Any, fact: Fact, disabled: Collection[str]) -> bool:
    """Whether every byte of the value is the most probable one."""
    question = _tokens(model, _line(fact))
    likeliest = model(question[:, :-1], state, disabled).logits[0].argmax(dim=-1)
    value = slice(len(fact.prompt), len(fact.prompt) + len(fact.value))
    return bool((likeliest[value] == question[0, 1:][value]).all())


def _line(fact: Fact) -> bytes:
    return b"\n" + fact.prompt + fact.value + b"\n"


def _tokens(model: MemoryLanguageModel[Any], text: bytes) -> Tensor:
    return torch.tensor([list(text)], device=next(model.parameters()).device)


def _row(label: str, found: Sequence[Found]) -> tuple[str, ...]:
    shares = ["by_day", "by_day_alone", "wiped", "moved", "moved_off", "many_days"]
    if label == WITHOUT:
        shares = ["by_day", "", "wiped", "moved", "", "many_days"]
    columns = ([getattr(one, name) for one in found] if name else [] for name in shares)
    seconds = max(one.seconds for one in found)
    return (label, *(mean_and_spread(values) if values else "–" for values in columns), f"{seconds:.2f}")
