"""The two measures of swing, on hand-made curves and against their definitions."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortexzoo.zoo.training.policies.measuring.swing import raw_loss_ratio, upward_loss_ratio

curves = st.lists(st.floats(0.1, 10), max_size=30)


@pytest.mark.parametrize(
    ("values", "window", "start", "ratio"),
    [
        ([], 50, 0, 1.0),
        ([3.0], 50, 0, 1.0),
        ([8.0, 4.0, 2.0, 1.0], 50, 0, 1.0),
        ([2.0, 1.0, 3.0, 1.0], 50, 0, 3.0),
        ([1.0, 2.0, 2.0, 4.0], 10, 0, 2.0),
        ([1.0, 2.0, 2.0, 4.0], 50, 0, 4.0),
        ([1.0, 9.0, 9.0, 9.0], 50, 5, 9.0),
        ([1.0, 9.0, 9.0, 9.0], 50, 10, 1.0),
        ([2.0, math.nan], 50, 0, math.inf),
        ([math.inf, 2.0], 50, 10, 1.0),
        ([0.0, 1.0], 50, 0, math.inf),
        ([0.0, 0.0], 50, 0, 1.0),
    ],
)
def test_upward_swings_by_hand(values: list[float], window: int, start: int, ratio: float) -> None:
    steps = [10 * (i + 1) for i in range(len(values))]
    assert upward_loss_ratio(steps, values, window, start) == ratio


@pytest.mark.parametrize(
    ("values", "window", "start", "ratio"),
    [
        ([], 3, 0, 1.0),
        ([8.0, 4.0, 2.0, 1.0], 2, 0, 2.0),
        ([8.0, 4.0, 2.0, 1.0], 50, 0, 8.0),
        ([8.0, 4.0, 2.0, 1.0], 50, 2, 2.0),
        ([8.0, 4.0, 2.0, 1.0], 50, 9, 1.0),
        ([1.0, math.nan], 3, 0, math.inf),
    ],
)
def test_raw_swings_by_hand(values: list[float], window: int, start: int, ratio: float) -> None:
    assert raw_loss_ratio(values, window, start) == ratio


@given(curves, st.integers(1, 12), st.integers(0, 12))
def test_a_rise_is_never_larger_than_the_whole_swing(values: list[float], window: int, start: int) -> None:
    steps = range(1, len(values) + 1)
    upward = upward_loss_ratio(steps, values, window, start)
    assert 1 <= upward <= raw_loss_ratio(values, window + 1, start)
    downward = upward_loss_ratio(steps, [1 / v for v in values], window, start)
    assert max(upward, downward) == pytest.approx(raw_loss_ratio(values, window + 1, start))


def test_steps_and_values_must_fit() -> None:
    with pytest.raises(ValueError, match="zip"):
        upward_loss_ratio([1, 2], [1.0], 50)
