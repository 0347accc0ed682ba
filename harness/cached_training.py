"""Trained subjects that several checks share: one training of each spec, kept in the user's cache folder."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from filelock import FileLock

import zoo
from harness.resuming import resume_run
from harness.run_folder import MANIFEST, SPEC, SUMMARY, Run, RunFolderError, finished_runs
from harness.runner import Warn, train_run
from specs import ExperimentSpec, SuiteSpec
from specs.suite import Check
from zoo.build import build_trainer
from zoo.models.trained_base import cache_folder
from zoo.training.recorder import SilentRecorder

SHORT_SUM = 12
NO_SUITE = SuiteSpec(name="none", properties={"causality": Check()})


def training_of(experiment: ExperimentSpec) -> ExperimentSpec:
    """The experiment as far as training depends on it: a suite only judges, so another one needs no other training."""
    return experiment.model_copy(update={"suite": NO_SUITE})


def cache() -> Path:
    """Where trainings by this code are kept: other code may train another model from the same spec."""
    return cache_folder() / "trained" / code_sum()


def code_sum() -> str:
    """Of torch's version and every source file of `zoo`."""
    folder = Path(zoo.__file__).parent
    total = hashlib.sha256(torch.__version__.encode())
    for file in sorted(folder.rglob("*.py")):
        total.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return total.hexdigest()[:SHORT_SUM]


def find_trained(experiment: ExperimentSpec, folder: Path) -> Run | None:
    """The finished training of an experiment, whatever its suite, if `folder` holds one."""
    return next(finished_runs(folder, training_of(experiment)), None)


def cached_training(
    experiment: ExperimentSpec, folder: Path, *, warn: Warn, began: Callable[[Run], None] = lambda _: None
) -> Run:
    """The finished training of an experiment: found in `folder`, gone on with where it was stopped, or made.

    Several processes that want the same one train it once. Raises as `train_run`, and `KeyboardInterrupt` when training
    was stopped by a signal; what was trained so far is gone on with the next time.
    """
    training = training_of(experiment)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{training.hash()}.lock"):
        found = find_trained(experiment, folder)
        if found is not None:
            return found
        run = _gone_on_with(training, folder, warn, began)
        run = run or train_run(training, folder, aim=False, progress=False, warn=warn, began=began)
    if not run.finished:
        raise KeyboardInterrupt
    return run


def _gone_on_with(training: ExperimentSpec, folder: Path, warn: Warn, began: Callable[[Run], None]) -> Run | None:
    for run in unfinished(training, folder):
        try:
            return resume_run(run.path, training, aim=False, progress=False, warn=warn, began=began)
        except RunFolderError:
            continue  # damaged where it was cut off: another one, or a new one, takes its place
    return None


def unfinished(experiment: ExperimentSpec, folder: Path) -> Iterator[Run]:
    """Trainings of an experiment that were stopped or killed, newest first; not those that gave up."""
    training = training_of(experiment)
    for file in sorted((folder / training.name).glob(f"*/{SPEC}"), reverse=True):
        run = Run(file.parent)
        if not (run.path / MANIFEST).is_file() or run.manifest.get("spec_hash") != training.hash():
            continue
        stopped = (run.path / SUMMARY).is_file() and run.summary.get("status") != "failed"
        if stopped or not (run.path / SUMMARY).is_file():
            yield run


def seconds_to_train(experiment: ExperimentSpec) -> float:
    """What a whole training would take on one thread here, by the time of its second step. Raises `DataError`."""
    recipe = experiment.recipe
    few = experiment.model_copy(update={"recipe": recipe.model_copy(update={"steps": min(3, recipe.steps)})})
    watch, threads = _StopWatch(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        build_trainer(training_of(few), recorder=watch).run()
    finally:
        torch.set_num_threads(threads)
    return recipe.steps * watch.seconds


class _StopWatch(SilentRecorder):
    """The time between the records of the first two steps: the first one also pays for what is made only once."""

    def __init__(self) -> None:
        self.seconds, self._last = 0.0, time.perf_counter()

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        now = time.perf_counter()
        if step <= 2:
            self.seconds = now - self._last
        self._last = now
