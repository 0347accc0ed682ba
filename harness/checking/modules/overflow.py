"""Results inside a module that leave the range of float16 while its output stays finite."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from cortexzoo.harness.checking.modules.subject import BareSubject
from cortexzoo.harness.checking.modules.watching import FirstFault, first_fault

LARGEST = torch.finfo(torch.float16).max
ARITHMETIC = {
    "add", "addmm", "baddbmm", "bmm", "cumsum", "cumprod", "div", "exp", "mm", "mul", "pow", "prod", "reciprocal",
    "rsqrt", "square", "sum",
}  # fmt: skip
"""Operations whose result grows with what they are given; masks are filled by others."""


class Overflow(FirstFault):
    """Notes the first operation that makes +∞ of numbers which are all finite.

    −∞ and factors beyond float16 do not count: masks are made of them on purpose.
    """

    def fault(self, name: str, result: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        if name not in ARITHMETIC or not bool(result.isposinf().any()):
            return ""
        return f"a result of {name}" if all(map(_is_usual, tree_leaves((args, kwargs)))) else ""


def _is_usual(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(value.isfinite().all())
    return not isinstance(value, int | float) or isinstance(value, bool) or abs(value) <= LARGEST


def overflowing(half: BareSubject, inputs: Tensor) -> str:
    """The operation of a call in float16 whose result is infinite, where float32 has none; "" where there is none."""
    if not (found := first_fault(Overflow(), half, inputs)):
        return ""
    single = replace(half, dtype=torch.float32)
    try:
        return "" if first_fault(Overflow(), single, single.fitted(inputs.detach())) else found
    except Exception:
        return ""
