"""A study is a list of cells; a cell is one experiment with overrides, trained with several seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.studies.multi_seed import train_counted
from cortexzoo.specs import ExperimentSpec, load_experiment


@dataclass(frozen=True)
class StudyCell:
    """One row of a study: the experiment `experiment` with `overrides`, shown as `label`."""

    label: str
    experiment: str
    overrides: tuple[str, ...] = ()
    at_most_seeds: int | None = None
    """For what need not be shown more often."""

    def with_seed(self, seed: int) -> ExperimentSpec:
        return load_experiment(self.experiment, (*self.overrides, f"seed={seed}"))


@dataclass
class Result:
    """A cell and its finished runs, one a seed."""

    cell: StudyCell
    runs: list[Run] = field(default_factory=list)

    def values(self, name: str) -> list[float]:
        """One number of the runs' summaries, in the order of the seeds."""
        return [float(run.summary[name]) for run in self.runs]


def run_cells(
    cells: Sequence[StudyCell], seeds: int, runs: Path, jobs: int, done: Callable[[int, int], None]
) -> dict[str, Result]:
    """Train every cell with seeds 0 … seeds − 1. `done(finished, total)` is called after each run."""
    wanted = {
        cell.label: [cell.with_seed(seed) for seed in range(min(seeds, cell.at_most_seeds or seeds))] for cell in cells
    }
    found = train_counted([spec for specs in wanted.values() for spec in specs], runs, jobs, done)
    return {cell.label: Result(cell, [found[spec.hash()] for spec in wanted[cell.label]]) for cell in cells}


def mean_and_worst(shares: Sequence[float]) -> str:
    """`mean (least)` over seeds."""
    return f"{np.mean(shares):.3f} ({min(shares):.3f})"


def mean_and_spread(values: Sequence[float], digits: int = 3) -> str:
    """`mean ± standard deviation` over seeds; a single value stands alone."""
    if len(values) < 2:
        return f"{values[0]:.{digits}f}"
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"
