"""How time and memory grow with the length of a sequence."""

import math
import time
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.properties.base import Case, Finding, Property, finding, once
from harness.subject import Runnable
from specs.suite import PROPERTIES

SHORTEST, LONGEST = 256, 8192
LONG_ENOUGH = 0.3
"""CPU seconds of one call, from which on fixed costs no longer hide how time grows."""
POINTS = 4
REPETITIONS = 3
NEAR = (0.4, 0.1, 0.1, 0.1)
"""Beyond the bound by less than this a slope is measured again, up to so often: a busy machine only ever adds time."""
MEMORY_LENGTHS = (256, 512, 1024)


@torch.no_grad()
def linear_time(subject: Runnable, case: Case) -> Finding:
    """The slope over the last three doublings, of the least CPU time of some evaluation calls.

    Beyond the bound it is measured in a second way, with as many rows as give equally many tokens at every length: then
    each call needs the same memory, and caches cannot make a linear model look otherwise. The smaller slope counts.
    """
    model = subject.copy()
    lengths, seconds = [SHORTEST], [_least_time(subject, model, SHORTEST)]
    while lengths[-1] < LONGEST and (seconds[-1] < LONG_ENOUGH or len(lengths) < POINTS):
        lengths.append(2 * lengths[-1])
        seconds.append(_least_time(subject, model, lengths[-1]))
    lengths, seconds = lengths[-POINTS:], seconds[-POINTS:]
    slope = log_slope(lengths, seconds)
    packed = [math.inf] * len(lengths)
    for near in NEAR:
        if not 0 < slope - PROPERTIES["linear_time"].bound < near:
            break
        for place, length in enumerate(lengths):
            rows = lengths[-1] // length
            packed[place] = min(packed[place], _least_time(subject, model, length, rows) / rows)
            seconds[place] = min(seconds[place], _least_time(subject, model, length))
        slope = min(log_slope(lengths, seconds), log_slope(lengths, packed))
    reason = f"{seconds[0] * 1e3:.1f} ms at length {lengths[0]}, {seconds[-1] * 1e3:.1f} ms at {lengths[-1]}"
    return finding("linear_time", slope, reason, case)


def _least_time(subject: Runnable, model: torch.nn.Module, length: int, rows: int = 1) -> float:
    inputs, state = subject.draw(rows, length), subject.begin(model, rows)
    least = math.inf
    for _ in range(REPETITIONS):
        began = time.process_time()
        subject.run(model, inputs, state)
        least = min(least, time.process_time() - began)
    return max(least, 1e-6)


def linear_memory(subject: Runnable, case: Case) -> Finding:
    """The slope of the most bytes of tensors that are alive at once during forward and backward."""
    model = subject.copy().train()
    for length in MEMORY_LENGTHS:  # what is made once and kept is no part of a pass
        _training_pass(subject, model, length)
    peaks = [_peak_bytes(partial(_training_pass, subject, model, length)) for length in MEMORY_LENGTHS]
    slope = log_slope(MEMORY_LENGTHS, peaks)
    reason = f"{peaks[0] / 1e6:.1f} MB at length {MEMORY_LENGTHS[0]}, {peaks[-1] / 1e6:.1f} MB at {MEMORY_LENGTHS[-1]}"
    return finding("linear_memory", slope, reason, case)


def _training_pass(subject: Runnable, model: torch.nn.Module, length: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        output, _ = subject.run(model, subject.draw(1, length), subject.begin(model, 1))
        output.double().square().mean().backward()
    model.zero_grad(set_to_none=True)


def log_slope(lengths: Sequence[int], values: Sequence[float]) -> float:
    """The exponent p of value ∝ length^p, from the first to the last point."""
    return float(math.log(values[-1] / values[0]) / math.log(lengths[-1] / lengths[0]))


def _peak_bytes(action: Callable[[], None]) -> float:
    live = LiveBytes()
    with live:
        action()
    return max(1.0, live.peak)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all storages that operations made and that are still alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0.0
        self._seen: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage in self._seen:
            return
        size = storage.nbytes()
        self._seen[storage] = size
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, size)

    def _drop(self, size: int) -> None:
        self.now -= size


GROWTH: tuple[Property[Runnable], ...] = (
    Property("linear_time", linear_time, once),
    Property("linear_memory", linear_memory, once),
)
