"""What a benchmark found, and its form as JSON."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import log
from statistics import linear_regression, median, quantiles
from typing import Any

import torch


@dataclass(frozen=True)
class CaseResult:
    """Medians over the pairs of one case."""

    name: str
    series: str
    size: float | None
    pairs: int
    ours_ms: float
    peer_ms: float | None
    ratio: float | None
    """The peer's time over ours: above 1 ours is faster."""
    spread: float
    """Of the ratios, or without a peer of our times: the middle half over the median."""
    flops: int | None
    fraction_of_matmul: float | None
    peak_bytes: int | None
    figures: Mapping[str, float]


@dataclass(frozen=True)
class BenchmarkResult:
    """One benchmark."""

    name: str
    peer: str
    headline: str
    threads: int
    matmul_gflops: float
    """Rate of a square float32 product of 1,024 in the same process, taken in every round."""
    cases: Sequence[CaseResult]

    @property
    def ratio(self) -> float | dict[str, float] | None:
        """By case; of a benchmark with one case its number."""
        ratios = {case.name: case.ratio for case in self.cases if case.ratio is not None}
        return (next(iter(ratios.values())) if len(self.cases) == 1 else ratios) if ratios else None

    def slopes(self, cost: str) -> dict[str, float]:
        """By series: of log cost over log size. 1 is linear, 0 constant."""
        found = {}
        for series in dict.fromkeys(case.series for case in self.cases if case.size is not None):
            points = [
                (log(case.size), log(value))
                for case in self.cases
                if case.series == series and case.size and (value := getattr(case, cost))
            ]
            if len(points) > 1:
                sizes, costs = zip(*points, strict=True)
                found[series] = linear_regression(sizes, costs).slope
        return found

    def as_json(self) -> dict[str, Any]:
        """`ratio`, `time_slope`, `memory_slope` and `fraction_of_matmul`, and what they are made of."""
        time_slopes, memory_slopes = self.slopes("ours_ms"), self.slopes("peak_bytes")
        fractions = {case.name: case.fraction_of_matmul for case in self.cases}
        peaks = [case.peak_bytes for case in self.cases if case.peak_bytes is not None]
        return {
            "ratio": self.ratio,
            "spread": {case.name: case.spread for case in self.cases},
            "time_slope": max(time_slopes.values(), default=None),
            "memory_slope": max(memory_slopes.values(), default=None),
            "fraction_of_matmul": fractions.get(self.headline),
            "peak_bytes": max(peaks, default=None),
            "peer": self.peer,
            "slopes": {"time": time_slopes, "memory": memory_slopes},
            "cases": {case.name: asdict(case) for case in self.cases},
            "machine": {
                "torch": torch.__version__,
                "processor": platform.machine(),
                "threads": self.threads,
                "matmul_gflops": self.matmul_gflops,
            },
        }


def spread_of(values: Sequence[float]) -> float:
    """The middle half over the median; 0 for one value."""
    if len(values) < 2:
        return 0.0
    lower, _, upper = quantiles(values, n=4, method="inclusive")
    return (upper - lower) / median(values)
