"""A property: a plain function from a subject and a case to a finding, and the cases it is tried on."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from hypothesis.strategies import SearchStrategy
from torch import Tensor

from cortexzoo.harness.checking.case import Case as Case
from cortexzoo.harness.checking.case import DoesNotApply as DoesNotApply
from cortexzoo.specs.properties import PropertyName

SubjectT = TypeVar("SubjectT", contravariant=True)
"""A trained model with its record (`cortexzoo.harness.checking.subject.Subject`), or a bare module."""


@dataclass(frozen=True)
class Finding:
    """One observation: the value in the unit of the property, what it means in words, and the case that gave it."""

    observed: float
    reason: str
    case: Case


@dataclass(frozen=True)
class Property(Generic[SubjectT]):
    """`check` is tried on each of `cases`, which come smallest first, so that the first failing one is minimal.

    `strategy` describes all further cases: they are searched, and what fails is shrunk.
    """

    name: PropertyName
    check: Callable[[SubjectT, Case], Finding]
    cases: Callable[[SubjectT], Iterable[Case]]
    strategy: Callable[[SubjectT], SearchStrategy[Case]] | None = None
    cost: int = 1
    """A search tries one case where it tries so many of other properties."""
    explain: Callable[[SubjectT, Case], Case | None] | None = None
    """Where in the model a failing case begins to fail: module, class, words, and file and line where known."""
    shrinks: bool = False
    """Whether a listed case that fails is made smaller, number by number; what then crashes does not count."""


def once(_: object) -> Iterable[Case]:
    """The cases of a property that has only one."""
    yield {}


def number(case: Case, key: str, default: int | None = None) -> int:
    """A whole number of a case; `default`, unless None, where the case has none."""
    value = case[key] if default is None else case.get(key, default)
    assert isinstance(value, int)
    return value


def difference(before: Tensor, after: Tensor) -> Tensor:
    """|before − after| elementwise in float64; 0 where both are the same infinity or NaN, inf where only one is."""
    before, after = before.detach().double(), after.detach().double()
    same = (before == after) | (before.isnan() & after.isnan())
    return torch.where(same, 0.0, (before - after).abs()).nan_to_num(nan=torch.inf, posinf=torch.inf)


def largest_difference(before: Tensor, after: Tensor) -> float:
    """The largest elementwise difference; inf for different shapes."""
    if before.shape != after.shape:
        return float("inf")
    return float(difference(before, after).max()) if before.numel() else 0.0


def scale_of(output: Tensor) -> float:
    """The largest finite number of an output, at least 1."""
    finite = output[output.isfinite()]
    return max(1.0, float(finite.abs().max())) if finite.numel() else 1.0


def within_rounding(delta: float, eps: float, length: int, bound: float) -> float:
    """`delta` in terms of `bound`, where rounding to `eps` over `length` tokens may move an output by more than that.

    Rounding allows 2 · eps · √length: 1e-5 in float32 up to 1,760 tokens, 0.13 in bfloat16 at 64.
    """
    allowed = 2 * eps * math.sqrt(length)
    return delta * bound / max(allowed, bound)


def text(case: Case, key: str) -> str:
    """A word of a case."""
    value = case[key]
    assert isinstance(value, str)
    return value
