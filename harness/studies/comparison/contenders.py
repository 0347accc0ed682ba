"""Who takes part in a comparison: experiments, for which runs may have to be trained, and finished runs."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cortexzoo.harness.errors import UserError
from cortexzoo.harness.runs.run_folder import MANIFEST, SUMMARY, Run, RunFolderError
from cortexzoo.specs import ExperimentSpec, load_experiment, shipped_names
from cortexzoo.specs.base import without_documentation

DEFAULT_SEEDS = 1
ENDINGS = (".yaml", ".yml")


class Incomparable(UserError):
    """The contenders cannot be compared. The message is one line with the reason and the fix."""


@dataclass(frozen=True)
class Contender:
    """A contender of a comparison: an experiment with each of its seeds."""

    label: str
    experiments: tuple[ExperimentSpec, ...]
    """One a seed, equal in everything else."""
    runs: tuple[Run, ...]
    """The runs that the user named, in the order of `experiments`; empty: they are found or trained."""

    @property
    def experiment(self) -> ExperimentSpec:
        """That of the first seed."""
        return self.experiments[0]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, ascending."""
        return tuple(experiment.seed for experiment in self.experiments)


def is_run(target: str) -> bool:
    """Whether a target names a run folder rather than an experiment."""
    if target.endswith(ENDINGS) or target in shipped_names("experiment"):
        return False
    return os.sep in target or Path(target).is_dir()


def contenders(targets: Sequence[str], seeds: int | None, overrides: Sequence[str]) -> list[Contender]:
    """All contenders, in the order in which they were named; runs that differ only in their seed are grouped.

    Without `seeds` experiments take the seeds of the runs that were named beside them, or else one seed.
    Raises `Incomparable`, `SpecError`, `RunFolderError`.
    """
    runs = {target: _finished(target) for target in dict.fromkeys(targets) if is_run(target)}
    if runs and seeds is not None:
        raise Incomparable(f"--seeds {seeds}: {next(iter(runs))} has the seed of its training: remove --seeds")
    if overrides and len(runs) == len(set(targets)):
        raise Incomparable(f"{overrides[0]}: a run is compared as it was trained: remove it")
    of_runs = sorted({run.spec.seed for run in runs.values()})
    wanted = of_runs or range(seeds or DEFAULT_SEEDS)
    grouped: dict[str, tuple[list[ExperimentSpec], list[Run]]] = {}
    for target in dict.fromkeys(targets):
        if target in runs:
            run = runs[target]
            specs, found = grouped.setdefault(f"run {_apart_from_the_seed(run.spec)}", ([], []))
            specs.append(run.spec)
            found.append(run)
        else:
            experiments = [load_experiment(target, (*overrides, f"seed={seed}")) for seed in wanted]
            grouped.setdefault(_apart_from_the_seed(experiments[0]), (experiments, []))
    if len(grouped) < 2:
        raise Incomparable("compare needs at least two contenders that differ in more than the seed")
    labels = _labels([specs[0] for specs, _ in grouped.values()])
    return [_contender(label, *side) for label, side in zip(labels, grouped.values(), strict=True)]


def _contender(label: str, experiments: list[ExperimentSpec], runs: list[Run]) -> Contender:
    if runs:
        pairs = sorted(zip(experiments, runs, strict=True), key=lambda pair: pair[0].seed)
        experiments, runs = [spec for spec, _ in pairs], [run for _, run in pairs]
    seeds = [experiment.seed for experiment in experiments]
    if twice := [seed for seed in seeds if seeds.count(seed) > 1]:
        raise Incomparable(f"{label}: two of its runs have seed {twice[0]}: remove one of the two")
    return Contender(label, tuple(experiments), tuple(runs))


def _finished(target: str) -> Run:
    """A run that is whole. Raises `RunFolderError` before anything else is trained."""
    run = Run.open(target)
    run.read_json(MANIFEST)
    if not (run.path / SUMMARY).is_file():
        raise RunFolderError(f"{target}: its training has not ended: {_advice(target)}")
    if not (run.finished or "gave_up_at" in run.summary):
        raise RunFolderError(f"{target}: its training was {run.summary.get('status')}: {_advice(target)}")
    return run


def _advice(target: str) -> str:
    return f"resume it with `cortexzoo train --resume {target}`, or remove it from the comparison"


def _apart_from_the_seed(experiment: ExperimentSpec) -> str:
    return str(without_documentation({**experiment.model_dump(mode="json"), "seed": None}))


def _labels(experiments: Sequence[ExperimentSpec]) -> list[str]:
    """The shortest names that differ: the variant, with the recipe, with the experiment, or numbered."""
    ways = (
        [experiment.name for experiment in experiments],
        [experiment.variant.name for experiment in experiments],
        [f"{experiment.variant.name}, {experiment.recipe.name}" for experiment in experiments],
        [f"{experiment.name}, {experiment.recipe.name}" for experiment in experiments],
    )
    for names in ways:
        if len(set(names)) == len(names):
            return names
    return [f"{experiment.name} {number}" for number, experiment in enumerate(experiments, start=1)]
