"""Times of the ops beside a peer's, in one run: `cortexzoo bench ops [--quick] [--json FILE]`.

A pair runs ours and the peer's one after the other on the same tensors, in turns which first. All cases take a pair in
every round, so that a busy moment of the machine slows one pair of each and not all pairs of one. Reported are the
median times and the median of the pairs' ratios. Never a test: a time depends on the machine, a test must not.
"""

import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from math import log
from statistics import linear_regression, median
from time import perf_counter

import torch
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import logsigmoid, normalize, scaled_dot_product_attention

from cortexzoo.harness.bench.timing_options import timing_options
from cortexzoo.zoo.ops.gated_delta import chunk_gated_delta_rule
from cortexzoo.zoo.ops.sliding_window import sliding_window_attention

NUM_HEADS = 4
HEAD_DIM = 64
WINDOW_SIZE = 128

Op = Callable[..., Tensor]


@dataclass(frozen=True)
class Pairing:
    """Ours against a peer: medians in milliseconds, their ratio, and how far the results lie apart."""

    op: str
    peer: str
    direction: str
    time: int
    pairs: int
    ours_ms: float
    peer_ms: float
    ratio: float
    relative_difference: float
    target: float | None


@dataclass(frozen=True)
class Growth:
    """Slope of log(forward and backward time) over log(length): 1 is linear, 2 is quadratic."""

    op: str
    lengths: list[int]
    ours_ms: list[float]
    slope: float


TARGETS = {
    ("gated delta", "fwd", 2048): 1.8,
    ("gated delta", "fwd+bwd", 2048): 2.5,
    ("gated delta", "fwd+bwd", 8192): 5.0,
    ("window", "fwd+bwd", 8192): 15.0,
}


def gated_delta_inputs(time: int) -> list[Tensor]:
    """q, k with unit rows, v, a log decay that keeps most, beta in (0, 1)."""
    rng = torch.Generator().manual_seed(time)
    q, k, v = (torch.randn(1, time, NUM_HEADS, HEAD_DIM, generator=rng) for _ in range(3))
    g, beta = (torch.randn(1, time, NUM_HEADS, generator=rng) for _ in range(2))
    return [normalize(q, dim=-1), normalize(k, dim=-1), v, logsigmoid(g + 4), beta.sigmoid()]


def window_inputs(time: int) -> list[Tensor]:
    """q, k, v."""
    rng = torch.Generator().manual_seed(time)
    return [torch.randn(1, time, NUM_HEADS, HEAD_DIM, generator=rng) for _ in range(3)]


def gated_delta(*inputs: Tensor) -> Tensor:
    q, k, v, g, beta = inputs
    return chunk_gated_delta_rule(q, k, v, g, beta)[0]


def window_attention(*inputs: Tensor) -> Tensor:
    q, k, v = inputs
    return sliding_window_attention(q, k, v, WINDOW_SIZE)[0]


def transformers_gated_delta() -> Op:
    """The PyTorch form that transformers uses where no kernel is installed."""
    from transformers.models.qwen3_next.modeling_qwen3_next import torch_chunk_gated_delta_rule

    def peer(*inputs: Tensor) -> Tensor:
        out: Tensor = torch_chunk_gated_delta_rule(*inputs)[0]
        return out

    return peer


def band_mask_attention(time: int) -> Op:
    """Scaled dot product attention under a mask of the same window."""
    token = torch.arange(time)
    visible = (token <= token[:, None]) & (token > token[:, None] - WINDOW_SIZE)

    def peer(*inputs: Tensor) -> Tensor:
        q, k, v = (tensor.transpose(1, 2) for tensor in inputs)
        return scaled_dot_product_attention(q, k, v, attn_mask=visible).transpose(1, 2)

    return peer


def seconds(op: Op, inputs: Sequence[Tensor], backward: bool) -> float:
    """Time of one call, with the gradients of every input if asked for."""
    if not backward:
        with torch.no_grad():
            start = perf_counter()
            op(*inputs)
            return perf_counter() - start
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    upstream = torch.ones_like(inputs[2])
    start = perf_counter()
    torch.autograd.grad(op(*leaves), leaves, upstream)
    return perf_counter() - start


@dataclass(frozen=True)
class OpCase:
    """One op beside one peer at one length and direction, with the times of its pairs so far."""

    op: str
    ours: Op
    peer_name: str
    peer: Op
    inputs: list[Tensor]
    backward: bool
    pairs: list[tuple[float, float]] = field(default_factory=list)

    @property
    def time(self) -> int:
        return self.inputs[0].shape[1]

    def take_pair(self) -> None:
        """Times both, the one that went second last time first."""
        if len(self.pairs) % 2:
            peer, ours = (seconds(op, self.inputs, self.backward) for op in (self.peer, self.ours))
        else:
            ours, peer = (seconds(op, self.inputs, self.backward) for op in (self.ours, self.peer))
        self.pairs.append((ours, peer))

    def pairing(self) -> Pairing:
        """The medians of the pairs taken."""
        with torch.no_grad():
            expected = self.peer(*self.inputs)
            difference = float((self.ours(*self.inputs) - expected).norm() / expected.norm())
        direction = "fwd+bwd" if self.backward else "fwd"
        return Pairing(
            op=self.op,
            peer=self.peer_name,
            direction=direction,
            time=self.time,
            pairs=len(self.pairs),
            ours_ms=1000 * median(ours for ours, _ in self.pairs),
            peer_ms=1000 * median(peer for _, peer in self.pairs),
            ratio=median(peer / ours for ours, peer in self.pairs),
            relative_difference=difference,
            target=TARGETS.get((self.op, direction, self.time)),
        )


def compare(cases: list[OpCase], rounds: int) -> list[Pairing]:
    """Runs all cases in every round; short ones take several pairs in it."""
    for case in cases:  # the first call of an operation is slow
        seconds(case.ours, case.inputs, case.backward)
        seconds(case.peer, case.inputs, case.backward)
    for _ in range(rounds):
        for case in cases:
            for _ in range(max(1, 4096 // case.time)):
                case.take_pair()
    return [case.pairing() for case in cases]


def growth(name: str, op: Op, inputs_of: Callable[[int], list[Tensor]], lengths: list[int], rounds: int) -> Growth:
    """How the time of forward and backward grows with the length: medians over rounds of all lengths."""
    inputs = [inputs_of(length) for length in lengths]
    taken = [[1000 * seconds(op, tensors, backward=True) for tensors in inputs] for _ in range(rounds + 1)]
    times = [median(column) for column in zip(*taken[1:], strict=True)]
    slope = linear_regression([log(length) for length in lengths], [log(ms) for ms in times]).slope
    return Growth(name, lengths, times, slope)


def run(quick: bool, rounds: int) -> tuple[list[Pairing], list[Growth]]:
    """All pairings and growths; quick leaves out the long sequences."""
    transformers, longest = transformers_gated_delta(), 2048 if quick else 8192
    subjects = [
        ("gated delta", gated_delta, "transformers", transformers, gated_delta_inputs(time))
        for time in (512, 2048, 8192)
        if time <= longest
    ]
    masked = band_mask_attention(longest)
    subjects.append(("window", window_attention, "band mask", masked, window_inputs(longest)))
    pairings = compare([OpCase(*subject, backward) for subject in subjects for backward in (False, True)], rounds)
    lengths = [512 * 2**step for step in range(4 if quick else 6)]
    growths = [
        growth("gated delta", gated_delta, gated_delta_inputs, lengths, rounds),
        growth("window", window_attention, window_inputs, lengths, rounds),
    ]
    return pairings, growths


def show(console: Console, pairings: list[Pairing], growths: list[Growth]) -> None:
    """Prints both tables."""
    table = Table(title=f"{NUM_HEADS} heads of {HEAD_DIM}, float32, medians in ms", box=SIMPLE, padding=(0, 1, 0, 0))
    for header in ("op", "peer", "pass", "tokens", "ours", "peer's", "faster", "target"):
        table.add_column(header, justify="left" if header in ("op", "peer", "pass") else "right", no_wrap=True)
    for p in pairings:
        target = "" if p.target is None else f"{p.target:.1f}x"
        times = (f"{p.ours_ms:.1f}", f"{p.peer_ms:.1f}", f"{p.ratio:.2f}x", target)
        table.add_row(p.op, p.peer, p.direction, str(p.time), *times)
    console.print(table)
    console.print(f"The results lie at most {max(p.relative_difference for p in pairings):.0e} apart, relative.")
    table = Table(title="Growth of fwd+bwd, medians in ms", box=SIMPLE, padding=(0, 1, 0, 0))
    for header in ("op", "tokens", "ours", "log-log slope"):
        table.add_column(header, justify="left" if header == "op" else "right")
    for g in growths:
        ends = (f"{g.lengths[0]} .. {g.lengths[-1]}", f"{g.ours_ms[0]:.1f} .. {g.ours_ms[-1]:.1f}")
        table.add_row(g.op, *ends, f"{g.slope:.2f}")
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark from the command line; 2 if the peer is not installed."""
    options = timing_options(
        arguments,
        "ops",
        "Times the ops beside their peers.",
        rounds=15,
        quick_rounds=5,
        round_is="alternating pairs of each measurement, at least",
    )
    console = Console()
    try:
        pairings, growths = run(options.quick, options.rounds)
    except ModuleNotFoundError as missing:
        console.print(f"{missing.name} is not installed; the benchmark's peer needs it: pip install -e '.[dev]'")
        return 2
    show(console, pairings, growths)
    if options.json is not None:
        machine = {"torch": torch.__version__, "machine": platform.machine(), "threads": options.threads}
        figures = {
            "machine": machine,
            "pairings": [asdict(pairing) for pairing in pairings],
            "growths": [asdict(growth) for growth in growths],
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0
