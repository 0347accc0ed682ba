"""Small real experiments for tests, and how to train them."""

import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from cortexzoo.harness.runs.options import RunOptions
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.runs.train import train_run
from cortexzoo.harness.tracking.base import Warn
from cortexzoo.harness.tracking.jsonl import JsonlSink
from cortexzoo.specs import ExperimentSpec, load_experiment
from cortexzoo.specs.tracker import TrackerName

SMALL = (
    "variant.hidden_size=16",
    "variant.columns.num_columns=2",
    "recipe.steps=12",
    "recipe.batch_size=2",
    "recipe.sequence_length=16",
    "recipe.consolidation.every=4",
    "recipe.monitor.probe_every=2",
    "recipe.monitor.validate_every=6",
    "recipe.monitor.validation_sequences=4",
    "recipe.monitor.checkpoint_every=4",
)
"""Changes that make `cortexgpt-stable` train in a second."""
FEW = f"suite={Path(__file__).with_name('few-properties.yaml')}"
"""A change that makes its check as short, where verdicts matter and not which."""


def small(*changes: str) -> ExperimentSpec:
    """`cortexgpt-stable` made small, with further changes."""
    return load_experiment("cortexgpt-stable", [*SMALL, *changes])


QUIET = RunOptions(trackers=(), warn=pytest.fail)
"""Without trackers besides the run folder; a warning fails the test."""


def train_small(runs: Path, *changes: str, trackers: Sequence[TrackerName] = ()) -> Run:
    """A finished small run; a warning fails the test."""
    return train_run(small(*changes), runs, replace(QUIET, trackers=trackers))


def killed_small(runs: Path, step: int, *changes: str, warn: Warn = pytest.fail) -> Run:
    """A small run that died, by SIGKILL, when `step` was to be recorded."""

    class Deadly(JsonlSink):
        def metrics(self, at: int, values: Mapping[str, float]) -> None:
            if at == step:
                os.kill(os.getpid(), signal.SIGKILL)
            super().metrics(at, values)

    def die() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("cortexzoo.harness.runs.train.JsonlSink", Deadly)
            train_run(small(*changes), runs, replace(QUIET, warn=warn))

    process = multiprocessing.get_context("fork").Process(target=die)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    experiment = small(*changes)
    return Run.open(sorted((runs / experiment.name).iterdir())[-1])
