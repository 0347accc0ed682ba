"""What a benchmark's figures are made of."""

import pytest

from cortexzoo.harness.bench.result import BenchmarkResult, CaseResult, spread_of


def case(size: float, ms: float, series: str = "") -> CaseResult:
    return CaseResult(f"{series}{size}", series, size, 1, ms, None, None, 0.0, None, None, None, {})


def result(*cases: CaseResult) -> BenchmarkResult:
    return BenchmarkResult("name", "peer", "", 1, 1.0, cases)


def test_a_slope_of_one_is_linear_and_of_two_quadratic() -> None:
    linear = [case(size, 3.0 * size, "linear") for size in (1, 2, 4)]
    quadratic = [case(size, 3.0 * size**2, "quadratic") for size in (1, 2, 4)]
    found = result(*linear, *quadratic)
    assert found.slopes("ours_ms") == pytest.approx({"linear": 1.0, "quadratic": 2.0})
    assert found.as_json()["time_slope"] == pytest.approx(2.0)  # the worst


def test_one_size_has_no_slope_and_nothing_measured_no_figure() -> None:
    found = result(case(1, 3.0)).as_json()
    assert found["time_slope"] is found["memory_slope"] is found["ratio"] is found["peak_bytes"] is None


def test_spread_is_the_middle_half_over_the_median() -> None:
    assert spread_of([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 3)
    assert spread_of([1.0]) == 0.0
