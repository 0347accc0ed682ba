"""`expected-duration`: whole trainings, beside the duration that `show --measure` expects of them."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from cortexzoo.harness.bench.benchmark import Case
from cortexzoo.harness.runs.calibration import calibrate
from cortexzoo.harness.runs.options import UNTRACKED
from cortexzoo.harness.runs.train import train_run
from cortexzoo.specs import ExperimentSpec, load_experiment

NAMES = ("cortexgpt-stable", "cortexgpt-original", "transformer")
STEPS, FEW_STEPS = 150, 20


class ExpectedDuration:
    """Seconds on the wall, so the ratio is what was expected over what it took; other work on the machine counts."""

    headline = ""

    def cases(self, quick: bool) -> Sequence[Case]:
        names, steps = (NAMES[-1:], FEW_STEPS) if quick else (NAMES, STEPS)
        experiments = {name: load_experiment(name, [f"recipe.steps={steps}"]) for name in names}
        return [Case(name, real(experiment), expected(experiment)) for name, experiment in experiments.items()]


def real(experiment: ExperimentSpec) -> Callable[[], float]:
    """Seconds from the first step to the end of a run, without the start of the program."""

    def train() -> float:
        with tempfile.TemporaryDirectory() as folder:
            return float(train_run(experiment, Path(folder), UNTRACKED).summary["seconds"])

    return train


def expected(experiment: ExperimentSpec) -> Callable[[], float]:
    """The same, as a dozen steps predict it."""

    def measure() -> float:
        calibration = calibrate(experiment)
        return calibration.total - calibration.start

    return measure
