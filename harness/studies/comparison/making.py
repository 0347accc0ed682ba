"""Making what a comparison lacks: runs that were never trained, verdicts that were never given."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from cortexzoo.harness.checking.verdict import VERDICT
from cortexzoo.harness.parallel.train_missing import train_missing
from cortexzoo.harness.parallel.workers import in_processes
from cortexzoo.harness.runs.find import finished_runs, stopped_runs
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.studies.comparison.contenders import Contender
from cortexzoo.harness.studies.comparison.reading import read
from cortexzoo.specs import ExperimentSpec

Done = Callable[[str], None]
"""Hears in a few words of each thing that was missing and now is done."""


def missing(contenders: Sequence[Contender], runs: Path) -> list[ExperimentSpec]:
    """The experiments for which no run has ended yet."""
    return not_ended([e for contender in contenders if not contender.runs for e in contender.experiments], runs)


def not_ended(experiments: Sequence[ExperimentSpec], runs: Path) -> list[ExperimentSpec]:
    """Those of which no run has ended yet, equal ones once."""
    wanted = {experiment.hash(): experiment for experiment in experiments}
    return [experiment for experiment in wanted.values() if next(_ended(runs, experiment), None) is None]


def trained_runs(contenders: Sequence[Contender], runs: Path, jobs: int, done: Done) -> list[list[Run]]:
    """The run of each experiment of each entrant; those that never ended are trained, in a fresh process each.

    A run that gave up for numeric reasons is a result like every other. Raises what training raises before it begins.
    """
    wanted = [e for contender in contenders if not contender.runs for e in contender.experiments]
    left = {experiment.hash() for experiment in not_ended(wanted, runs)}
    found: dict[str, Run] = {}
    for experiment, run in train_missing(wanted, runs, jobs=jobs, accept_stopped=True, fresh_processes=True):
        found[experiment.hash()] = run
        if experiment.hash() in left:
            done(f"{experiment.name}, seed {experiment.seed}")
    return [list(contender.runs) or [found[e.hash()] for e in contender.experiments] for contender in contenders]


def unchecked(runs: Sequence[Run]) -> list[Run]:
    """Those without a verdict that have a model to judge."""
    return [run for run in runs if run.finished and not (run.path / VERDICT).is_file()]


def check_missing(runs: Sequence[Run], jobs: int, done: Done) -> None:
    """Check each unchecked run against its suite, once all can be read. Raises `RunFolderError`, as `check_run`."""
    waiting = unchecked(runs)
    for run in runs if waiting else ():
        read(run)
    for _, name in in_processes([(run, partial(_check, run.path)) for run in waiting], jobs):
        done(f"checked {name}")


def _check(path: Path) -> str:
    import logging

    from cortexzoo.harness.runs.train import check_run

    run = Run.open(path)
    check_run(run, warn=logging.getLogger(__name__).warning)
    return f"{run.spec.name}, seed {run.spec.seed}"


def _ended(runs: Path, experiment: ExperimentSpec) -> Iterator[Run]:
    yield from finished_runs(runs, experiment)
    yield from stopped_runs(runs, experiment)
