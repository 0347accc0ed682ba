"""Time and memory of a sidecar by length: `cortexzoo bench sidecar [--quick] [--json FILE]`.

Time is the median CPU time of a forward and backward pass. Memory is the most bytes that tensors hold at once during
one, counted as they are made and freed, so that each run gives the same. Never a test: a time depends on the machine.
"""

import json
import weakref
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import log
from statistics import linear_regression, median
from time import process_time
from typing import Any

import torch
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cortexzoo.harness.bench.timing_options import timing_options
from cortexzoo.specs.mixer import MixerSpec
from cortexzoo.zoo.models.hybrid.block import Sidecar

HIDDEN_SIZE = 256
MIXER = MixerSpec(num_heads=4, head_dim=64, window_size=128)
TARGET = 1.1


@dataclass(frozen=True)
class Growth:
    """A cost by length, and the slope of its logarithm over the length's: 1 is linear, 2 is quadratic."""

    cost: str
    lengths: list[int]
    costs: list[float]
    slope: float


class HeldBytes(TorchDispatchMode):
    """Counts the bytes of all tensors made under it and not yet freed, and keeps the most."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held: int = 0
        self.most: int = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, function: Callable[..., Any], types: object, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._note(leaf.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        place, size = storage.data_ptr(), storage.nbytes()
        if size == 0 or place in self._known:
            return
        self._known.add(place)
        self.held += size
        self.most = max(self.most, self.held)
        weakref.finalize(storage, self._free, place, size)

    def _free(self, place: int, size: int) -> None:
        self._known.discard(place)
        self.held -= size


def pass_through(sidecar: Sidecar, length: int) -> float:
    """CPU seconds of a forward and backward pass over `length` tokens, gradients of the input included."""
    x = torch.randn(1, length, HIDDEN_SIZE, generator=torch.Generator().manual_seed(length), requires_grad=True)
    state = sidecar.initial_state(1)
    sidecar.zero_grad()
    start = process_time()
    sidecar(x, state)[0].sum().backward()
    return process_time() - start


def held_bytes(sidecar: Sidecar, length: int) -> int:
    """The most bytes of tensors that a pass over `length` tokens holds at once, weights not counted."""
    held = HeldBytes()
    with held:
        pass_through(sidecar, length)
    return held.most


def slope(lengths: Sequence[int], costs: Sequence[float]) -> float:
    """Of log cost over log length, by least squares."""
    return linear_regression([log(length) for length in lengths], [log(cost) for cost in costs]).slope


def run(quick: bool, rounds: int) -> list[Growth]:
    """Time and memory at lengths from 512; all lengths take a turn in every round."""
    torch.manual_seed(0)
    sidecar = Sidecar(MIXER, HIDDEN_SIZE)
    torch.nn.init.normal_(sidecar.output.weight)  # at zero, hardly any gradient would have a way back
    lengths = [512 * 2**step for step in range(4 if quick else 6)]
    taken = [[1000 * pass_through(sidecar, length) for length in lengths] for _ in range(rounds + 1)]
    times = [median(column) for column in zip(*taken[1:], strict=True)]  # the first of an operation is slow
    sizes = [held_bytes(sidecar, length) / 2**20 for length in lengths]
    return [
        Growth("CPU time, ms", lengths, times, slope(lengths, times)),
        Growth("memory, MiB", lengths, sizes, slope(lengths, sizes)),
    ]


def show(console: Console, growths: list[Growth]) -> None:
    """Prints one line a cost."""
    title = f"Sidecar of {MIXER.num_heads} heads of {MIXER.head_dim}, window {MIXER.window_size}, forward and backward"
    table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0))
    for header in ("cost", *map(str, growths[0].lengths), "log-log slope", "at most"):
        table.add_column(header, justify="left" if header == "cost" else "right", no_wrap=True)
    for growth in growths:
        table.add_row(growth.cost, *(f"{cost:.0f}" for cost in growth.costs), f"{growth.slope:.2f}", f"{TARGET}")
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark from the command line."""
    options = timing_options(
        arguments,
        "sidecar",
        "Growth of a sidecar's time and memory.",
        rounds=9,
        quick_rounds=3,
        round_is="passes at each length",
    )
    growths = run(options.quick, options.rounds)
    show(Console(), growths)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(growth) for growth in growths], indent=2) + "\n", encoding="utf-8")
    return 0
