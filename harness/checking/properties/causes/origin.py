"""The place where two traces part: a submodule, or the code of one between two that it calls."""

import inspect
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cortexzoo.harness.checking.properties.base import Case, largest_difference
from cortexzoo.harness.checking.properties.causes.tracing import Call, Trace

LIBRARIES = ("site-packages", "dist-packages")
LEAST = 16
"""Differences below so many roundings of the numbers' size count as none."""
Select = Callable[[Tensor, int], Tensor | None]
"""Of a submodule's tensor and the sequence's length the part that must be the same; None: there is no such part."""


@dataclass(frozen=True)
class Origin:
    """A call that shows a defect first, and whether the defect is there before the call begins."""

    call: Call
    before: bool

    @property
    def owner(self) -> Call:
        """The call in whose own code it happens."""
        return self.call.parent if self.before and self.call.parent is not None else self.call

    def in_words(self) -> str:
        """The place, as the end of a sentence."""
        owner = self.owner
        if not self.before and not self.call.inner:
            return f"through {_named(owner)}"
        if self.before:
            return f"{self.owner_in_words()}, before it calls {_named(self.call, bare=True)}"
        last = f", after it calls {_named(self.call.inner[-1], bare=True)}" if self.call.inner else ""
        return f"{self.owner_in_words()}{last}"

    def owner_in_words(self) -> str:
        """The code alone."""
        place = _place(self.owner)
        where = f" ({Path(place[0]).name}:{place[1]})" if place else ""
        return f"in the forward of {_named(self.owner)}{where}"

    def as_case(self, words: str) -> Case:
        """What a certificate keeps: module, class, sentence, and file and line of the nearest code of no library."""
        cause: dict[str, int | float | str] = {
            "module": self.owner.name, "class": type(self.owner.module).__name__, "words": words,
        }  # fmt: skip
        for call in self.owner.ancestors:
            if (place := _place(call)) is not None and not any(library in place[0] for library in LIBRARIES):
                return {**cause, "file": place[0], "line": place[1]}
        return cause


def first_difference(
    before: Sequence[Trace],
    after: Sequence[Trace],
    select: tuple[Select, Select],
    least: float = 0.0,
    given: int | None = 1,
) -> Origin | None:
    """The first call whose outputs differ between two runs; each run is one trace or several, joined by place.

    `select` gives the comparable part of a tensor of either run; `least` is the difference that counts, relative to
    the size of the numbers; `given` is how many of a call's inputs are compared, None: all.
    """
    if not before or not after:
        return None
    ours, theirs = _by_module(before), _by_module(after)

    def differ(call: Call, side: str) -> bool:
        key = call.name, call.occurrence
        if key not in theirs:
            return False
        for place in range(len(getattr(ours[key][0][1], side)))[: given if side == "inputs" else 1]:
            one, other = _joined(ours[key], side, place, select[0]), _joined(theirs[key], side, place, select[1])
            if _differ(one, other, least):
                return True
        return False

    for call in before[0].calls:
        if differ(call, "outputs"):
            return _outermost(call, lambda each: differ(each, "inputs"))
    return None


def first_not_finite(trace: Trace) -> Origin | None:
    """The first call that returns what is not finite."""
    for call in trace.calls:
        if any(not bool(t.isfinite().all()) for t in call.outputs):
            return _outermost(call, lambda each: any(not bool(t.isfinite().all()) for t in each.inputs))
    return None


def _outermost(call: Call, is_given: Callable[[Call], bool]) -> Origin:
    """Out of calls that were given the defect already, to the one whose code made it."""
    before = False
    while call.parent is not None and is_given(call):
        before = True
        if not is_given(call.parent):
            break
        call = call.parent
    return Origin(call, before)


def _by_module(traces: Sequence[Trace]) -> dict[tuple[str, int], list[tuple[int, Call]]]:
    """The calls with the length of their sequence."""
    found: dict[tuple[str, int], list[tuple[int, Call]]] = defaultdict(list)
    for trace in traces:
        for call in trace.calls:
            found[call.name, call.occurrence].append((trace.length, call))
    return found


def _joined(calls: list[tuple[int, Call]], side: str, place: int, select: Select) -> Tensor | None:
    """One tensor of each call, its comparable parts side by side."""
    parts = []
    for length, call in calls:
        tensors: list[Tensor] = getattr(call, side)
        part = select(tensors[place], length) if place < len(tensors) else None
        if part is None:
            return None
        parts.append(part)
    if len(parts) == 1:
        return parts[0]
    if any(p.shape[:1] + p.shape[2:] != parts[0].shape[:1] + parts[0].shape[2:] for p in parts):
        return None
    return torch.cat(parts, dim=1)


def _differ(one: Tensor | None, other: Tensor | None, least: float) -> bool:
    if one is None or other is None or one.shape != other.shape:
        return False
    finite = one[one.isfinite()]
    scale = max(1e-6, float(finite.abs().max())) if finite.numel() else 1.0
    eps = torch.finfo(one.dtype).eps if one.is_floating_point() else 0.0
    return largest_difference(one, other) > max(least, LEAST * eps) * scale


def _named(call: Call, *, bare: bool = False) -> str:
    kind = type(call.module).__name__
    if not call.name:
        return kind if bare else f"the model ({kind})"
    return f"`{call.name}`" if bare else f"`{call.name}` ({kind})"


def _place(call: Call) -> tuple[str, int] | None:
    try:
        forward = inspect.unwrap(type(call.module).forward)
        file = inspect.getsourcefile(forward)
        return (file, inspect.getsourcelines(forward)[1]) if file else None
    except (OSError, TypeError):
        return None
