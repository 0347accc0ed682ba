"""Searches a run with many seeds: `cortexzoo bench flakiness RUN [--seeds 20] [--examples N]`.

A property that holds for one seed and fails for another is either a defect that only some searches find, or a check
that depends on chance or on the clock. RUN is a run folder, or the name of a shipped experiment, whose training is
taken from the cache or made. Every seed tries the listed cases again, then its own. Ends with 1 when any verdict of any
seed is not the expected one.
"""

import argparse
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from cortexzoo.harness.checking.effort import PROFILES, Effort
from cortexzoo.harness.checking.judge import judge_all
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.harness.runs.cache import cache, cached_training
from cortexzoo.harness.runs.options import UNTRACKED
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.runs.train import subject_of
from cortexzoo.specs import SuiteSpec, load_experiment, shipped_names
from cortexzoo.specs.suite import PropertyName, Verdict


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


def search_with_seeds(
    subject: Subject, suite: SuiteSpec, seeds: Sequence[int], examples: int
) -> dict[PropertyName, Record]:
    """Every property of the suite, once for each seed."""
    records = {name: Record(check.expect) for name, check in suite.properties.items()}
    for seed in track(seeds, "seeds", console=Console(stderr=True)):
        for judgement in judge_all(subject, suite, {}, effort=Effort(examples, seed=seed)).judgements:
            records[judgement.name].add(judgement)
    return records


def _table(records: dict[PropertyName, Record]) -> Table:
    table = Table("property", "expected", "verdicts", "cases", "least margin", box=None)
    for name, record in records.items():
        margin = f"{record.least_margin:.3g}" if math.isfinite(record.least_margin) else "–"
        told = ", ".join(f"{verdict} {count}" for verdict, count in record.verdicts.items())
        table.add_row(name, record.expected, told, f"{record.cases:,}", margin)
    return table


def _as_json(records: dict[PropertyName, Record]) -> dict[str, Any]:
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark from the command line; 1 when a verdict is not the expected one."""
    parser = argparse.ArgumentParser(prog="cortexzoo bench flakiness", description="Searches with many seeds.")
    parser.add_argument("run", nargs="?", default="cortexgpt-stable", help="a run folder or a shipped experiment")
    parser.add_argument("--seeds", type=int, default=20, help="how many (20)")
    parser.add_argument("--examples", type=int, default=PROFILES["ci"].examples, help="cases a property and seed")
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    options = parser.parse_args(arguments)
    if options.seeds < 1 or options.examples < 0:
        parser.error(f"--seeds must be at least 1 and --examples at least 0, got {options.seeds}, {options.examples}")
    torch.set_num_threads(1)
    if options.run in shipped_names("experiment"):
        experiment = load_experiment(options.run)
        run = cached_training(experiment, cache(), UNTRACKED)
    else:
        run = Run.open(options.run)
        experiment = run.spec
    records = search_with_seeds(subject_of(run), experiment.suite, range(options.seeds), options.examples)
    Console(width=120).print(_table(records))
    wrong = {name: record for name, record in records.items() if record.unexpected}
    for name, record in wrong.items():
        for judgement in record.unexpected:
            print(f"{name}, seed {judgement.seed}: {judgement.verdict}: {judgement.reason} {dict(judgement.case)}")
    print(f"{len(records) - len(wrong)} of {len(records)} properties are as expected with all {options.seeds} seeds")
    if options.json is not None:
        options.json.write_text(json.dumps(_as_json(records), indent=1) + "\n", encoding="utf-8")
    return 1 if wrong else 0
