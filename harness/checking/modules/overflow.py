"""Results inside a module that leave the range of float16 while its output stays finite."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cortexzoo.harness.checking.modules.subject import BareSubject

LARGEST = torch.finfo(torch.float16).max
ARITHMETIC = {
    "add", "addmm", "baddbmm", "bmm", "cumsum", "cumprod", "div", "exp", "mm", "mul", "pow", "prod", "reciprocal",
    "rsqrt", "square", "sum",
}  # fmt: skip
"""Operations whose result grows with what they are given; masks are filled by others."""


class Overflow(TorchDispatchMode):
    """Notes the first operation that makes +∞ of numbers which are all finite.

    −∞ and factors beyond float16 do not count: masks are made of them on purpose.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.first = ""

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").partition(".")[0].strip("_")
        if not self.first and name in ARITHMETIC and isinstance(result, Tensor) and result.is_floating_point():
            given = tree_leaves((args, kwargs or {}))
            if bool(result.isposinf().any()) and all(map(_is_usual, given)):
                self.first = f"a result of {name}"
        return result


def _is_usual(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(value.isfinite().all())
    return not isinstance(value, int | float) or isinstance(value, bool) or abs(value) <= LARGEST


def overflowing(half: BareSubject, inputs: Tensor) -> str:
    """The operation of a call in float16 whose result is infinite, where float32 has none; "" where there is none."""
    if not (found := _first(half, inputs)):
        return ""
    single = replace(half, dtype=torch.float32)
    try:
        return "" if _first(single, single.fitted(inputs.detach())) else found
    except Exception:
        return ""


@torch.no_grad()
def _first(subject: BareSubject, inputs: Tensor) -> str:
    model, seen = subject.copy(), Overflow()
    with torch.random.fork_rng(devices=[]), seen:
        torch.manual_seed(0)
        subject.call(model, inputs, subject.begin(model, len(inputs)))
    return seen.first
