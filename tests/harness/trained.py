"""Small real experiments for tests, and how to train them."""

from pathlib import Path

import pytest

from harness.run_folder import Run
from harness.runner import train_run
from specs import ExperimentSpec, load_experiment

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


def small(*changes: str) -> ExperimentSpec:
    """`cortexgpt-stable` made small, with further changes."""
    return load_experiment("cortexgpt-stable", [*SMALL, *changes])


def train_small(runs: Path, *changes: str, aim: bool = False) -> Run:
    """A finished small run; a warning fails the test."""
    return train_run(small(*changes), runs, aim=aim, progress=False, warn=pytest.fail)
