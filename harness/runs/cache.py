"""Trained subjects that several checks share: one training of each spec, kept in the user's cache folder."""

import hashlib
from pathlib import Path

import torch
from filelock import FileLock

from cortexzoo import zoo
from cortexzoo.harness.runs.calibration import calibrate
from cortexzoo.harness.runs.find import finished_runs, unfinished_runs
from cortexzoo.harness.runs.options import UNTRACKED, RunOptions
from cortexzoo.harness.runs.resume import resume_run
from cortexzoo.harness.runs.run_folder import Run, RunFolderError
from cortexzoo.harness.runs.train import train_run
from cortexzoo.specs import ExperimentSpec, SuiteSpec
from cortexzoo.specs.sleep import NoSleep
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.cache import cache_folder
from cortexzoo.zoo.ops import kernel_choice

SHORT_SUM = 12
NO_SUITE = SuiteSpec(name="none", properties={"causality": Check()})


def training_of(experiment: ExperimentSpec) -> ExperimentSpec:
    """The experiment as far as training depends on it: another suite needs no other training."""
    return experiment.model_copy(update={"suite": NO_SUITE})


def cache() -> Path:
    """Where trainings by this code are kept: other code may train another model from the same spec."""
    return cache_folder() / "trained" / code_sum()


def code_sum() -> str:
    """Of torch's version, every source file of `zoo`, and whether compiled kernels are asked for."""
    folder = Path(zoo.__file__).parent
    total = hashlib.sha256(torch.__version__.encode())
    total.update(b"kernels" if kernel_choice.asked_for() else b"")
    for file in sorted([*folder.rglob("*.py"), *folder.rglob("*.cpp")]):
        total.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return total.hexdigest()[:SHORT_SUM]


def find_trained(experiment: ExperimentSpec, folder: Path) -> Run | None:
    """The finished training of an experiment, with any suite, if `folder` contains one."""
    return next(finished_runs(folder, training_of(experiment)), None)


def cached_training(experiment: ExperimentSpec, folder: Path, options: RunOptions = UNTRACKED) -> Run:
    """The finished training of an experiment: found in `folder`, resumed where it was stopped, or made.

    Several processes that need the same run train it once. Raises as `train_run`, and `KeyboardInterrupt` when training
    was stopped by a signal; the next call resumes it.
    """
    training = training_of(experiment)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{training.hash()}.lock"):
        found = find_trained(experiment, folder)
        if found is not None:
            return found
        run = _resumed(training, folder, options)
        run = run or train_run(training, folder, options)
    if not run.finished:
        raise KeyboardInterrupt
    return run


def _resumed(training: ExperimentSpec, folder: Path, options: RunOptions) -> Run | None:
    for run in unfinished_runs(folder, training):
        try:
            return resume_run(run.path, training, options=options)
        except RunFolderError:
            continue  # damaged where it was cut off: the next one, or a new one, takes its place
    return None


def work_ahead(experiment: ExperimentSpec) -> str:
    """How many steps a whole training takes, and about how long here on one thread, in words. Raises as `calibrate`."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = calibrate(training_of(experiment))
    finally:
        torch.set_num_threads(threads)
    about = "at most" if found.is_bound else "about"
    apart = ["its sleeps"] * (not isinstance(experiment.recipe.sleep, NoSleep)) + [
        "the recall at its end"
    ] * found.is_bound
    excluded = f", without {' and '.join(apart)}" if apart else ""
    minutes = max(found.total / 60, 0.1)
    return f"{experiment.name}: {found.steps} steps to train, {about} {minutes:.1f} minutes on one core{excluded}"
