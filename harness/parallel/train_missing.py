"""Training many experiments: what is already there is used, the rest is trained in parallel processes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from cortexzoo.harness.errors import Failure
from cortexzoo.harness.parallel.slurm import Scheduler, train_scheduled
from cortexzoo.harness.parallel.workers import in_processes
from cortexzoo.harness.runs.find import finished_runs, stopped_runs, unfinished_runs
from cortexzoo.harness.runs.run_folder import Run, RunFolderError
from cortexzoo.specs import ExperimentSpec
from cortexzoo.zoo.models.own_source import require_allowed


class StoppedEarly(Failure):
    """A run that was stopped before its last step, so that it is no result. The message is one line."""


def train_missing(
    experiments: Sequence[ExperimentSpec],
    runs: Path,
    *,
    jobs: int,
    threads: int = 1,
    accept_stopped: bool = False,
    fresh_processes: bool = False,
    scheduler: Scheduler | None = None,
) -> Iterator[tuple[ExperimentSpec, Run]]:
    """Yield each experiment with its run as soon as it is finished; equal experiments are trained once.

    Finished runs in `runs` are used as they are, and one that was cut short continues from its checkpoint, so a study
    that was killed continues where it stopped. Each process trains on `threads` threads, which keeps results the same
    for any number of `jobs`. With `accept_stopped`, and always with a `scheduler`, a run that gave up for numeric
    reasons is a result like every other; else it raises `TrainingStopped`.
    `fresh_processes`: each run has a process of its own, a few seconds slower, so that the peak memory it reports is
    not that of a run before it. With `scheduler` the runs are its jobs instead of processes of this machine.
    Raises `OwnModuleError` before anything is trained if a variant's code must not run, what training raises,
    `StoppedEarly`, and `ProcessLost`, or with a scheduler `ScheduleError`.
    """
    distinct = {experiment.hash(): experiment for experiment in experiments}
    missing = []
    for experiment in distinct.values():
        run = next(finished_runs(runs, experiment), None)
        if run is None and accept_stopped:
            run = next(stopped_runs(runs, experiment), None)
        if run is None:
            missing.append(experiment)
        else:
            yield experiment, run
    if not missing:
        return
    for experiment in missing:
        require_allowed(experiment.variant)
    if scheduler is not None:
        yield from train_scheduled(missing, runs, scheduler, jobs=jobs, threads=threads)
        return
    tasks = [(each, partial(_train, each.canonical_json(), runs, accept_stopped)) for each in missing]
    for experiment, folder in in_processes(tasks, jobs, threads=threads, fresh=fresh_processes):
        yield experiment, Run.open(folder)


def _train(experiment: str, runs: Path, accept_stopped: bool) -> Path:
    from cortexzoo.zoo.errors import TrainingStopped

    spec = ExperimentSpec.from_json(experiment)
    begun: list[Run] = []
    try:
        return train_or_go_on(spec, runs, began=begun.append).path
    except TrainingStopped:
        if not accept_stopped:
            raise
        return begun[0].path


def train_or_go_on(spec: ExperimentSpec, runs: Path, began: Callable[[Run], None] = lambda _: None) -> Run:
    """Resume the newest run of `spec` that was cut short, or start a new one.

    A run that cannot be resumed, since another process trains it or its checkpoint is damaged, costs one line and stays
    as it is. Raises as `train_run`, and `StoppedEarly` when a signal ended training before its last step.
    """
    import logging

    from cortexzoo.harness.runs.options import UNTRACKED
    from cortexzoo.harness.runs.resume import resume_run
    from cortexzoo.harness.runs.train import train_run

    warn = logging.getLogger(__name__).warning
    options = replace(UNTRACKED, warn=warn, began=began)
    if (cut_short := next(unfinished_runs(runs, spec), None)) is not None:
        try:
            return _whole(resume_run(cut_short.path, spec, options=options))
        except RunFolderError as problem:
            warn(f"{problem}: {spec.name}, seed {spec.seed}, is trained again")
    return _whole(train_run(spec, runs, options))


def _whole(run: Run) -> Run:
    if not run.finished:
        raise StoppedEarly(f"{run.path}: stopped before its last step; repeat the command to continue")
    return run
