"""Charts of characters show what the numbers say."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortexzoo.harness.monitor.charts import BLANK, curves, meter, stacked
from cortexzoo.harness.monitor.curve import MOST_POINTS, Thinned

ANY = st.floats(allow_nan=True, allow_infinity=True)


def test_a_rising_curve_rises() -> None:
    text = curves([([(0, 0.0), (50, 1.0), (100, 2.0)], "")], width=20, height=2, last_step=100, label=4)
    top, bottom = text.plain.split("\n")
    assert top.startswith("   2 ") and bottom.startswith("   0 ")
    assert ord(bottom[5]) > BLANK and ord(top[-1]) > BLANK
    assert ord(top[5]) == BLANK and ord(bottom[-1]) == BLANK


def test_points_that_are_far_apart_are_joined() -> None:
    text = curves([([(0, 0.0), (100, 1.0)], "")], width=25, height=3, last_step=100, label=4).plain
    columns = zip(*(row[5:] for row in text.split("\n")), strict=True)
    assert all(any(ord(cell) > BLANK for cell in column) for column in columns)


@given(values=st.lists(ANY, max_size=30), width=st.integers(10, 40), height=st.integers(2, 6))
def test_any_values_fill_exactly_the_frame(values: list[float], width: int, height: int) -> None:
    text = curves([(list(enumerate(values)), "red")], width, height, last_step=20).plain
    rows = text.split("\n")
    assert len(rows) == height
    if any(math.isfinite(value) for value in values):
        assert all(len(row) == max(width, 9) for row in rows)


def test_shares_are_stacked_from_below() -> None:
    text = stacked([{"a": 0.5, "b": 0.5}] * 3, {"a": "red", "b": "blue"}, width=3, height=2)
    assert text.plain == "███\n███"
    assert [span.style for span in text.spans] == ["blue"] * 3 + ["red"] * 3


def test_shares_that_do_not_reach_one_leave_room() -> None:
    assert stacked([{"a": 0.25}], {"a": "red"}, width=1, height=2).plain == " \n▄"


@pytest.mark.parametrize(("part", "filled"), [(-1, 0), (0, 0), (0.5, 5), (1, 10), (7, 10)])
def test_a_meter_is_filled_by_its_part(part: float, filled: int) -> None:
    assert meter(part, 10, "red").plain == "━" * filled + "─" * (10 - filled)


def test_a_long_curve_stays_small_and_keeps_its_spikes() -> None:
    curve = Thinned()
    for step in range(1, 100_001):
        curve.add(step, 99.0 if step == 77_777 else math.nan if step == 5 else 1.0)
    assert len(curve.points) <= MOST_POINTS
    assert (77_777, 99.0) in curve.points
    assert any(math.isnan(value) for _, value in curve.points)
    assert [step for step, _ in curve.points] == sorted(step for step, _ in curve.points)
