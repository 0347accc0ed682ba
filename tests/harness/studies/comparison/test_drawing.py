"""Curves: the mean over the seeds that have a step, and their spread."""

from pathlib import Path

import numpy as np
import pytest

from cortexzoo.harness.studies.comparison.drawing import MOST_DRAWN, mean_curve
from cortexzoo.harness.studies.comparison.reading import Record, Series


def record(steps: list[int], values: list[float]) -> Record:
    return Record(Path("run"), 0, "hash", {}, {}, None, {"m": Series(np.array(steps), np.array(values))})


def test_mean_and_spread_at_each_step() -> None:
    curve = mean_curve([record([1, 2], [1.0, 3.0]), record([1, 2, 3], [3.0, 3.0, 7.0])], "m")
    assert curve is not None
    assert curve.steps.tolist() == [1, 2, 3]
    assert curve.mean.tolist() == [2.0, 3.0, 7.0]
    assert curve.sd.tolist() == pytest.approx([2**0.5, 0.0, 0.0])


def test_what_is_not_finite_is_left_out() -> None:
    curve = mean_curve([record([1, 2, 3], [1.0, float("nan"), 5.0]), record([1, 2, 3], [1.0, float("inf"), 7.0])], "m")
    assert curve is not None
    assert (curve.steps.tolist(), curve.mean.tolist()) == ([1, 3], [1.0, 6.0])


def test_smoothing_is_a_trailing_mean() -> None:
    curve = mean_curve([record([1, 2, 3, 4], [4.0, 2.0, float("nan"), 6.0])], "m", window=2)
    assert curve is not None
    assert curve.mean.tolist() == [4.0, 3.0, 2.0, 6.0]


def test_a_metric_that_nobody_has() -> None:
    assert mean_curve([record([1], [1.0])], "other") is None


def test_a_long_curve_is_drawn_at_some_of_its_steps() -> None:
    steps = list(range(1, 3 * MOST_DRAWN))
    curve = mean_curve([record(steps, [float(step) for step in steps])], "m")
    assert curve is not None
    assert len(curve.steps) == len(curve.mean) == len(curve.sd) == MOST_DRAWN
    assert curve.steps.tolist() == curve.mean.tolist()
    assert (curve.steps[0], curve.steps[-1]) == (1, steps[-1])
