"""Searches a run with many seeds: `cortexzoo bench flakiness RUN [--seeds 20] [--examples N]`.

A property that holds for one seed and fails for another is either a defect that only some searches find, or a check
that depends on chance or on the clock. RUN is a run folder, or the name of a shipped experiment, whose training is
taken from the cache or made. Every seed tries the listed cases again, then its own. Ends with 1 when any verdict of any
seed is not the expected one.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from rich.console import Console
from rich.progress import track

from cortexzoo.harness.checking.effort import Effort
from cortexzoo.harness.checking.judge import judge_all
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.harness.runs.cache import cache, cached_training
from cortexzoo.harness.runs.options import UNTRACKED
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.runs.train import subject_of
from cortexzoo.specs import SuiteSpec, load_experiment, shipped_names
from cortexzoo.specs.properties import PropertyName, Verdict


@dataclass
class Record:
    """The verdicts of all seeds on one property."""

    expected: Verdict
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    least_margin: float = math.inf
    cases: int = 0
    unexpected: list[Judgement] = field(default_factory=list)

    def add(self, judgement: Judgement) -> None:
        """One more seed."""
        self.verdicts[judgement.verdict] += 1
        self.cases += judgement.cases_tried
        if judgement.margin is not None:
            self.least_margin = min(self.least_margin, judgement.margin)
        if judgement.unexpected:
            self.unexpected.append(judgement)


def records_of(run: str, seeds: Sequence[int], examples: int) -> dict[PropertyName, Record]:
    """The properties of a run, or of a shipped experiment that is trained if need be, with each seed of the search."""
    torch.set_num_threads(1)
    if run in shipped_names("experiment"):
        experiment = load_experiment(run)
        trained = cached_training(experiment, cache(), UNTRACKED)
    else:
        trained = Run.open(run)
        experiment = trained.spec
    return search_with_seeds(subject_of(trained), experiment.suite, seeds, examples)


def search_with_seeds(
    subject: Subject, suite: SuiteSpec, seeds: Sequence[int], examples: int
) -> dict[PropertyName, Record]:
    """Every property of the suite, once for each seed."""
    records = {name: Record(check.expect) for name, check in suite.properties.items()}
    for seed in track(seeds, "seeds", console=Console(stderr=True)):
        for judgement in judge_all(subject, suite, {}, effort=Effort(examples, seed=seed)).judgements:
            records[judgement.name].add(judgement)
    return records


def rows(records: dict[PropertyName, Record]) -> list[tuple[str, ...]]:
    """Property, expected verdict, verdicts, cases, least margin."""
    return [
        (
            name,
            record.expected,
            ", ".join(f"{verdict} {count}" for verdict, count in record.verdicts.items()),
            f"{record.cases:,}",
            f"{record.least_margin:.3g}" if math.isfinite(record.least_margin) else "–",
        )
        for name, record in records.items()
    ]


def as_json(records: dict[PropertyName, Record]) -> dict[str, Any]:
    """Verdicts, cases and margins by property; each unexpected verdict with its seed, reason and case."""
    return {
        name: {
            "expected": record.expected,
            "verdicts": dict(record.verdicts),
            "cases": record.cases,
            "least_margin": record.least_margin if math.isfinite(record.least_margin) else None,
            "unexpected": [{"seed": j.seed, "reason": j.reason, "case": dict(j.case)} for j in record.unexpected],
        }
        for name, record in records.items()
    }
