"""What a benchmark is: cases, each of them ours beside what one would use instead."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import process_time
from typing import Protocol

Timed = Callable[[], float]
"""One turn; its seconds."""


@dataclass(frozen=True)
class Case:
    """One thing that is timed."""

    name: str
    """Within its benchmark, such as `forward-T2048`."""
    ours: Timed
    peer: Timed | None = None
    """The same work by the peer; None: this case has none, and no ratio."""
    series: str = ""
    """Cases of one series differ in their size alone, and give a slope."""
    size: float | None = None
    """Tokens, entries or rows, whatever grows in the series."""
    flops: int | None = None
    """Floating-point operations of our matrix products in one turn."""
    peak_bytes: Callable[[], int] | None = None
    """The most bytes that our tensors need at once, without the weights."""
    figures: Callable[[], Mapping[str, float]] | None = None
    """Whatever else is measured, once, by name."""


class Benchmark(Protocol):
    """A benchmark by name."""

    headline: str
    """The case whose fraction of the matmul rate stands for the benchmark; empty: none."""

    def cases(self, quick: bool) -> Sequence[Case]:
        """What is timed; quick leaves out what takes long."""


def timed(work: Callable[[], object]) -> Timed:
    """Processor seconds of a call: other programs slow the clock on the wall, and hardly this one."""

    def turn() -> float:
        began = process_time()
        work()
        return process_time() - began

    return turn
