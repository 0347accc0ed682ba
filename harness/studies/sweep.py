"""A matrix of runs: every combination as an experiment, trained where it is missing, and one row for all its seeds."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from cortexzoo.harness.parallel.slurm import Scheduler
from cortexzoo.harness.parallel.train_missing import train_missing
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.studies.comparison.making import not_ended
from cortexzoo.harness.studies.comparison.measures import FIXED, Measure
from cortexzoo.harness.studies.comparison.reading import Record, read
from cortexzoo.specs import ExperimentSpec, MatrixSpec, SpecError, load_experiment
from cortexzoo.specs.loading.load import LoadedSpec, load_with_origins
from cortexzoo.specs.loading.overrides import label

AXES = {"variant": "variants", "recipe": "recipes", "data": "data"}


@dataclass(frozen=True)
class SweepCell:
    """One combination, apart from the seed."""

    coordinates: tuple[tuple[str, str], ...]
    """What varies, and what it is here."""
    experiments: tuple[ExperimentSpec, ...]
    """One a seed."""


@dataclass(frozen=True)
class SweepRow:
    """A combination with its runs."""

    cell: SweepCell
    records: tuple[Record, ...]

    def texts(self) -> list[str]:
        """One a measure: mean ± standard deviation over seeds."""
        return [measure.text(measure.spread(self.records)) for measure in SHOWN]

    def as_json(self) -> dict[str, Any]:
        """Coordinates, and the measures of each run."""
        return {
            "coordinates": dict(self.cell.coordinates),
            "runs": [
                {"folder": str(record.path), "seed": record.seed, "spec_hash": record.spec_hash,
                 "gave_up_at": record.gave_up, **{measure.name: measure.of(record) for measure in SHOWN}}
                for record in self.records
            ],
        }  # fmt: skip


SHOWN: tuple[Measure, ...] = tuple(each for each in FIXED if each.name not in ("held-out loss, best", "parameters"))


def load_matrix(path_or_name: str) -> tuple[MatrixSpec, list[SweepCell]]:
    """The matrix of a file or of the library, and its cells in order. Raises `SpecError` with places in that file."""
    loaded = load_with_origins(path_or_name, "matrix")
    assert isinstance(loaded.spec, MatrixSpec)
    return loaded.spec, list(_cells(loaded.spec, loaded))


def sweep(
    cells: Sequence[SweepCell], runs: Path, jobs: int, done: Callable[[str], None], scheduler: Scheduler | None = None
) -> list[SweepRow]:
    """Train what is missing; one row for each cell. A run that gave up for numeric reasons is a result too."""
    wanted = [experiment for cell in cells for experiment in cell.experiments]
    left = {experiment.hash() for experiment in not_ended(wanted, runs)}
    found: dict[str, Run] = {}
    for experiment, run in train_missing(
        wanted, runs, jobs=jobs, accept_stopped=True, fresh_processes=True, scheduler=scheduler
    ):
        found[experiment.hash()] = run
        if experiment.hash() in left:
            done(f"{experiment.name}, seed {experiment.seed}: {run.path.name}")
    return [SweepRow(cell, tuple(read(found[each.hash()]) for each in cell.experiments)) for cell in cells]


def _cells(matrix: MatrixSpec, loaded: LoadedSpec) -> Iterator[SweepCell]:
    axes: list[list[tuple[str, str, str]]] = []
    for key, axis in AXES.items():
        if names := getattr(matrix, axis):
            axes.append([(key, name, axis) for name in names])
    for path, values in matrix.vary.items():
        axes.append([(path, _text(value), f"vary.{path}") for value in values])
    fixed = [(path, _text(value), f"change.{path}") for path, value in matrix.change.items()]
    for combination in product(*axes):
        changes = [*fixed, *combination]
        overrides = [f"{path}={text}" for path, text, _ in changes]
        try:
            experiments = [load_experiment(matrix.experiment, [*overrides, f"seed={seed}"]) for seed in matrix.seeds]
        except SpecError as error:
            where = {f"{label(f'{path}={text}')}: ": _place(loaded, written) for path, text, written in changes}
            raise SpecError([_placed(line, where, _place(loaded, "experiment")) for line in error.lines]) from error
        coordinates = tuple((path, _short(text)) for path, text, _ in combination)
        yield SweepCell(coordinates, tuple(experiments))


def _text(value: Any) -> str:
    """A value as the text of an override."""
    return value if isinstance(value, str) else json.dumps(value)


def _short(text: str) -> str:
    return Path(text).stem if text.endswith((".yaml", ".yml")) else text


def _place(loaded: LoadedSpec, written: str) -> str:
    """`matrix.yaml:12:5: vary.recipe.steps: ` for what is written under that key."""
    origin = loaded.origins.get(written)
    place = origin.place if origin is not None else None
    return f"{place or loaded.spec.name}: {written}: "


def _placed(line: str, where: dict[str, str], otherwise: str) -> str:
    for override, place in where.items():
        if line.startswith(override):
            return place + line.removeprefix(override)
    return otherwise + line
