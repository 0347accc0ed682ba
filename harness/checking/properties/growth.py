"""How time and memory grow with the length of a sequence."""

import math
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cortexzoo.harness.checking.properties.base import Case, DoesNotApply, Finding, Property, once
from cortexzoo.harness.checking.subject import Runnable
from cortexzoo.harness.checking.threads import one_thread
from cortexzoo.specs.properties import PROPERTIES

SHORTEST, LONGEST = 256, 8192
LONG_ENOUGH = 0.3
"""CPU seconds of one call, from which on fixed costs no longer hide how time grows."""
POINTS = 4
ROUNDS = 3
NEAR, FAR = 0.1, 0.4
"""A slope that is not this far below, or above, the bound is measured in the second way too."""
FURTHER_ROUNDS = 4
"""While the slope is above the bound and near it, up to so often: a busy machine only ever adds time."""
MEMORY_LONGEST = 4096
STEEP = 1.5
"""Reached where the quadratic part is a quarter of the linear one at a quarter of the longest sequence."""
ADDED = 0.1
"""Share of all bytes that the last doubling of the length must add, for the growth of what is added to count."""

Calls = Sequence[tuple[int, int]]
"""(rows, length) of calls whose times are compared."""


@torch.no_grad()
def linear_time(subject: Runnable, case: Case) -> Finding:
    """The slope of CPU time a sequence over the last three doublings of its length, on one thread.

    Two ways of measuring, of which the smaller slope counts. One row at each length: there large tensors, which the
    system hands out page by page and no cache has, make a linear model look worse than it is. And as many rows as
    give equally many tokens at every length: memory is the same throughout, but a model that loops over time pays its
    fixed cost of a step for fewer rows at a time. Either only ever adds to the slope of a linear model.
    """
    _claimed(subject)
    model = subject.copy()
    with one_thread():
        single = _lengths(subject, model)
        longest = single[-1][1]
        packed = [(longest // length, length) for _, length in single]
        seconds = dict.fromkeys({*single, *packed}, math.inf)
        _measure(subject, model, single, seconds, ROUNDS)
        slope, bound = _slope(single, seconds), PROPERTIES["linear_time"].bound
        if -NEAR < slope - bound < FAR:
            _measure(subject, model, packed, seconds, ROUNDS)
            slope = min(slope, _slope(packed, seconds))
        for _ in range(FURTHER_ROUNDS):
            if not 0 < slope - bound < NEAR:
                break
            _measure(subject, model, [*single, *packed], seconds, 1)
            slope = min(_slope(single, seconds), _slope(packed, seconds))
    first, last = (f"{seconds[call] * 1e3:.1f} ms at length {call[1]}" for call in (single[0], single[-1]))
    a_token = [seconds[call] / longest * 1e6 for call in (packed[0], packed[-1])]
    reason = f"{first}, {last}"
    if math.isfinite(a_token[0]):
        reason += f"; {a_token[0]:.1f} and {a_token[1]:.1f} µs a token with equally many tokens at every length"
    return Finding(slope, reason, case)


def _claimed(subject: Runnable) -> None:
    if not subject.scales_linearly:
        raise DoesNotApply("it claims no linear growth (ordinary attention has none): offer scales_linearly = True")


def _lengths(subject: Runnable, model: torch.nn.Module) -> Calls:
    """One row each: the last doublings up to one that takes long enough, or to the longest that the model takes."""
    longest = _at_most(model, LONGEST)
    if longest < 2 * SHORTEST:
        raise DoesNotApply(f"it takes at most {longest} tokens: too few to see how time grows")
    lengths = [SHORTEST]
    seconds: dict[tuple[int, int], float] = {(1, SHORTEST): math.inf}
    while True:
        _measure(subject, model, [(1, lengths[-1])], seconds, 1)
        enough = seconds[1, lengths[-1]] >= LONG_ENOUGH and len(lengths) >= POINTS
        if enough or 2 * lengths[-1] > longest:
            return [(1, length) for length in lengths[-POINTS:]]
        lengths.append(2 * lengths[-1])
        seconds[1, lengths[-1]] = math.inf


def _at_most(model: torch.nn.Module, longest: int) -> int:
    """`longest`, or the length that the model declares as the last that it takes."""
    declared = getattr(model, "max_length", None)
    return min(longest, declared) if isinstance(declared, int) else longest


def _measure(
    subject: Runnable, model: torch.nn.Module, calls: Calls, seconds: dict[tuple[int, int], float], rounds: int
) -> None:
    """Lower `seconds` to the least CPU time of each call, in turn, so that a slow while falls on all of them."""
    for _ in range(rounds):
        for rows, length in calls:
            inputs, state = subject.draw(rows, length), subject.begin(model, rows)
            began = time.process_time()
            subject.run(model, inputs, state)
            seconds[rows, length] = min(seconds[rows, length], max(time.process_time() - began, 1e-6))


def _slope(calls: Calls, seconds: Mapping[tuple[int, int], float]) -> float:
    lengths = [length for _, length in calls]
    return log_slope(lengths, [seconds[rows, length] / rows for rows, length in calls])


def linear_memory(subject: Runnable, case: Case, *, by_what_is_added: bool = False) -> Finding:
    """The slope of the most bytes of tensors that are alive at once during forward and backward.

    What is the same at every length, as gradients of the weights, hides growth. `by_what_is_added`: the slope of what a
    longer sequence adds counts instead where it is above `STEEP`.
    """
    _claimed(subject)
    model = subject.copy().train()
    longest = _at_most(model, MEMORY_LONGEST)
    lengths = [longest // 4, longest // 2, longest]
    for length in lengths:  # what is made once and kept is no part of a pass
        _training_pass(subject, model, length)
    peaks = [_peak_bytes(partial(_training_pass, subject, model, length)) for length in lengths]
    slope = log_slope(lengths, peaks)
    if by_what_is_added and (added := added_slope(peaks)) > STEEP:
        slope = max(slope, added)
    reason = f"{peaks[0] / 1e6:.1f} MB at length {lengths[0]}, {peaks[-1] / 1e6:.1f} MB at {lengths[-1]}"
    return Finding(slope, reason, case)


def _training_pass(subject: Runnable, model: torch.nn.Module, length: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        output, _ = subject.run(model, subject.draw(1, length), subject.begin(model, 1))
        output.double().square().mean().backward()
    model.zero_grad(set_to_none=True)


def log_slope(lengths: Sequence[int], values: Sequence[float]) -> float:
    """The exponent p of value ∝ length^p, from the first to the last point."""
    return float(math.log(values[-1] / values[0]) / math.log(lengths[-1] / lengths[0]))


def added_slope(values: Sequence[float]) -> float:
    """The exponent p of a + b·length^p, from values at a length, twice and four times it; 0 where too little is added.

    Of a linear part c and a quadratic part it lies between 1 and 2, the nearer to 2 the larger the latter.
    """
    first, second = values[1] - values[0], values[2] - values[1]
    if first <= 0 or second < ADDED * values[2]:
        return 0.0
    return math.log2(second / first)


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
