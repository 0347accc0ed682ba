"""Training on a scheduler that exists already: each run is a job that runs a plain command, started through submitit.

submitit pickles what it sends. What is sent here is a command line, nothing else: the run comes back as its folder.
"""

import io
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from cortexzoo.harness.errors import Failure, UserError
from cortexzoo.harness.parallel.slurm_queue import Queue
from cortexzoo.harness.runs.find import finished_runs, stopped_runs
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.specs import ExperimentSpec

Cluster = Literal["local", "slurm"]
QUEUE = ".jobs"
"""The folder beside the runs with the spec of each job and the files of submitit."""
ERROR = ".error"
"""Ending of the file, beside its spec, with the reason why a job failed."""
LOOK_EVERY = 0.5
"""Seconds between two looks at the jobs."""


class ScheduleError(UserError):
    """Jobs that cannot be submitted. The message is one line."""


class JobFailed(ScheduleError, Failure):
    """A job that ended without its run. The message is one line."""


@dataclass(frozen=True)
class Scheduler:
    """Where jobs run. `options` go to submitit as they are: `slurm_partition`, `timeout_min`, `mem_gb`, …

    Raises `ScheduleError` when submitit or the scheduler is missing, or rejects an option.
    """

    cluster: Cluster
    options: Mapping[str, str | int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if find_spec("submitit") is None:
            raise ScheduleError(f"--executor {self.cluster}: submitit is not installed: pip install -e '.[slurm]'")

    def executor(self, runs: Path, jobs: int, threads: int) -> Any:
        """submitit's executor, which keeps its files beside the runs."""
        import submitit

        fixed: dict[str, Any] = {"cpus_per_task": threads}
        if self.cluster == "slurm":
            fixed["slurm_array_parallelism"] = jobs
        try:
            executor = submitit.AutoExecutor(folder=runs / QUEUE / "%j", cluster=self.cluster)
            executor.update_parameters(**{"name": "cortexzoo", "timeout_min": 60, **fixed, **self.options})
        except (NameError, TypeError, ValueError, RuntimeError, AssertionError) as problem:
            raise ScheduleError(f"--executor {self.cluster}: {_first_line(problem)}") from problem
        return executor


def train_scheduled(
    experiments: Sequence[ExperimentSpec], runs: Path, scheduler: Scheduler, *, jobs: int, threads: int
) -> Iterator[tuple[ExperimentSpec, Run]]:
    """Train each experiment as a job, at most `jobs` at once; yields each with its run as soon as that has ended.

    Whatever ends this ends the jobs too, unless it is killed itself; then the jobs continue, and the same command again
    waits for what they train. Raises `ScheduleError`, `JobFailed`.
    """
    executor = scheduler.executor(runs.absolute(), jobs, threads)
    if scheduler.cluster == "slurm":
        # One job array: Slurm itself keeps to the number of jobs at once.
        yield from _from_slurm(_submitted_together(executor, experiments, runs, threads), runs)
        return
    waiting = list(experiments)
    running: list[tuple[ExperimentSpec, Any]] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                experiment = waiting.pop(0)
                running.append((experiment, executor.submit(_command(experiment, runs, threads))))
            for experiment, job in [each for each in running if each[1].done()]:
                running.remove((experiment, job))
                yield experiment, _result(experiment, job, runs)
            time.sleep(LOOK_EVERY)
    finally:
        for _, job in running:
            job.cancel(check=False)


def _from_slurm(running: list[tuple[ExperimentSpec, Any]], runs: Path) -> Iterator[tuple[ExperimentSpec, Run]]:
    """A job has ended when its result is there, or when Slurm itself says so twice."""
    queue = Queue()
    try:
        while running:
            for experiment, job in [each for each in running if each[1].paths.result_pickle.exists()]:
                running.remove((experiment, job))
                yield experiment, _result(experiment, job, runs)
            ended, reasons = queue.look([job.job_id for _, job in running])
            for reason in reasons:
                logging.getLogger(__name__).warning(reason)
            for experiment, job in running:
                if job.job_id in ended:
                    running.remove((experiment, job))
                    raise _failed(experiment, job, runs, f"Slurm says {ended[job.job_id]}")
            time.sleep(LOOK_EVERY)
    finally:
        for _, job in running:
            job.cancel(check=False)


def _submitted_together(
    executor: Any, experiments: Sequence[ExperimentSpec], runs: Path, threads: int
) -> list[tuple[ExperimentSpec, Any]]:
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        # What sbatch writes there is the last line of the problem, too.
        with redirect_stderr(io.StringIO()), executor.batch():
            submitted = [executor.submit(_command(experiment, runs, threads)) for experiment in experiments]
    except (FailedJobError, FailedSubmissionError, OSError) as problem:
        raise ScheduleError(f"--executor slurm: the jobs were not accepted: {_last_line(problem)}") from problem
    return list(zip(experiments, submitted, strict=True))


def _command(experiment: ExperimentSpec, runs: Path, threads: int) -> Callable[[], str]:
    """The job: strings only, so that nothing of ours is pickled."""
    from submitit.helpers import CommandFunction

    file = _file(experiment, runs)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_suffix(ERROR).unlink(missing_ok=True)
    file.write_text(experiment.canonical_json(), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "cortexzoo.harness.parallel.slurm_job",
        str(file),
        str(runs.absolute()),
        str(threads),
    ]
    job: Callable[[], str] = CommandFunction(command, verbose=False)
    return job


def _file(experiment: ExperimentSpec, runs: Path) -> Path:
    return runs.absolute() / QUEUE / f"{experiment.hash()}.json"


def _result(experiment: ExperimentSpec, job: Any, runs: Path) -> Run:
    if job.exception() is not None:
        raise _failed(experiment, job, runs, "its program ended with an error")
    run = next(finished_runs(runs, experiment), None) or next(stopped_runs(runs, experiment), None)
    if run is None:
        raise JobFailed(f"{_named(experiment, job)} ended and left no run in {runs}")
    return run


def _failed(experiment: ExperimentSpec, job: Any, runs: Path, otherwise: str) -> JobFailed:
    file = _file(experiment, runs).with_suffix(ERROR)
    if "timed-out" in (job.stdout() or "") or otherwise.endswith(" TIMEOUT"):
        reason = "its time is up: repeat the command to go on, with --job timeout_min=N for more of it"
    else:
        reason = file.read_text(encoding="utf-8").strip() if file.is_file() else otherwise
    return JobFailed(f"{_named(experiment, job)} failed: {reason} (all it wrote: {job.paths.stderr})")


def _named(experiment: ExperimentSpec, job: Any) -> str:
    return f"{experiment.name}, seed {experiment.seed}: job {job.job_id}"


def option(text: str) -> tuple[str, str | int]:
    """`KEY=VALUE` as submitit takes it; a value that is a number becomes one. Raises `ScheduleError`."""
    key, sign, value = text.partition("=")
    if not (sign and key.isidentifier() and value):
        raise ScheduleError(f"--job {text}: must be KEY=VALUE, as in slurm_partition=gpu or timeout_min=240")
    return key, json.loads(value) if value.isdecimal() else value


def _first_line(problem: BaseException) -> str:
    return str(problem).strip().splitlines()[0] if str(problem).strip() else type(problem).__name__


def _last_line(problem: BaseException) -> str:
    return str(problem).strip().splitlines()[-1].strip() if str(problem).strip() else type(problem).__name__
