"""Runs a benchmark: ours and the peer in turns, so that a busy moment of the machine slows a pair and not one side."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter, process_time

import torch

from cortexzoo.harness.bench.benchmark import Benchmark, Case
from cortexzoo.harness.bench.result import BenchmarkResult, CaseResult, spread_of
from cortexzoo.harness.runs.freed_memory import freed_memory_stays

SQUARE = 1024


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    """Of all cases, at most."""
    seconds: float
    """After which no further round begins; there is always one."""


THOROUGH, QUICK = Effort(15, 120.0), Effort(3, 12.0)
SHORTEST_TURN = 0.02
"""Seconds that a case should take in a round: shorter turns are taken several at a time, within `MOST_PAIRS`."""
MOST_PAIRS = 8


@dataclass
class Taken:
    """The turns of one case so far."""

    case: Case
    pairs_a_round: int
    ours: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)
    fractions: list[float] = field(default_factory=list)

    def take(self, rate: float) -> None:
        """One pair; who went second the last time goes first. `rate`: of the matmul in this round, a second."""
        if self.case.peer is not None and len(self.ours) % 2:
            self.peer.append(self.case.peer())
        self.ours.append(self.case.ours())
        if self.case.peer is not None and len(self.peer) < len(self.ours):
            self.peer.append(self.case.peer())
        if self.case.flops is not None:
            self.fractions.append(self.case.flops / max(self.ours[-1], 1e-9) / rate)

    def result(self) -> CaseResult:
        case = self.case
        ratios = [peer / max(ours, 1e-9) for ours, peer in zip(self.ours, self.peer, strict=False)]
        return CaseResult(
            name=case.name,
            series=case.series,
            size=case.size,
            pairs=len(self.ours),
            ours_ms=1e3 * median(self.ours),
            peer_ms=1e3 * median(self.peer) if self.peer else None,
            ratio=median(ratios) if ratios else None,
            spread=spread_of(ratios or self.ours),
            flops=case.flops,
            fraction_of_matmul=median(self.fractions) if self.fractions else None,
            peak_bytes=None if case.peak_bytes is None else case.peak_bytes(),
            figures={} if case.figures is None else case.figures(),
        )


def run(
    name: str,
    peer: str,
    benchmark: Benchmark,
    quick: bool,
    rounds: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> BenchmarkResult:
    """All cases of a benchmark in every round, on the threads that torch has.

    One that is `of_training` keeps the memory that it frees, as training does.
    """
    with freed_memory_stays() if getattr(benchmark, "of_training", False) else nullcontext():
        return _run(name, peer, benchmark, quick, rounds, progress)


def _run(
    name: str, peer: str, benchmark: Benchmark, quick: bool, rounds: int | None, progress: Callable[[str], None]
) -> BenchmarkResult:
    effort = QUICK if quick else THOROUGH
    taken = []
    for case in benchmark.cases(quick):
        progress(f"{name}: {case.name}")
        longest = max(case.ours(), case.peer() if case.peer is not None else 0.0)  # the first call is slow
        taken.append(Taken(case, max(1, min(MOST_PAIRS, int(SHORTEST_TURN / max(longest, 1e-9))))))
    rates: list[float] = []
    began = perf_counter()
    for number in range(rounds or effort.rounds):
        if number and rounds is None and perf_counter() - began > effort.seconds:
            break
        progress(f"{name}: round {number + 1}")
        for each in taken:
            rates.append(matmul_rate())
            for _ in range(each.pairs_a_round):
                each.take(rates[-1])
    progress(f"{name}: memory")
    found = [each.result() for each in taken]
    return BenchmarkResult(name, peer, benchmark.headline, torch.get_num_threads(), median(rates) / 1e9, found)


def matmul_rate() -> float:
    """Operations a second of a square float32 product of 1,024."""
    a = torch.ones(SQUARE, SQUARE)
    torch.mm(a[:64], a)
    began = process_time()
    torch.mm(a, a)
    return 2 * SQUARE**3 / max(process_time() - began, 1e-9)
