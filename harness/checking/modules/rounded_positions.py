"""Positions that a module of half precision counts in its own dtype: beyond 256, or 2,048, neighbours are equal."""

from typing import Any

import torch
from torch import Tensor

from cortexzoo.harness.checking.modules.subject import BareSubject
from cortexzoo.harness.checking.modules.watching import FirstFault

HALF = {torch.bfloat16: 257, torch.float16: 2049}
"""The first whole number that each of them does not have."""


class RoundedPositions(FirstFault):
    """Notes the first operation that makes whole numbers, one after the other, into floats of which some are equal."""

    def fault(self, name: str, result: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        if result.dtype not in HALF or result.shape[-1:] <= (1,):
            return ""
        counts = name == "arange" or (name == "to_copy" and _ascends(args[0]))
        if not counts or not bool((result.diff(dim=-1) == 0).any()):
            return ""
        dtype = str(result.dtype).removeprefix("torch.")
        return f"a result of {name} in {dtype} has equal positions from {HALF[result.dtype] - 1} on"


def _ascends(given: Any) -> bool:
    """Whether it is made of whole numbers, each one more than the one before."""
    whole = isinstance(given, Tensor) and not given.is_floating_point() and given.dtype != torch.bool
    return whole and given.shape[-1:] > (1,) and bool((given.diff(dim=-1) == 1).all())


def is_half(subject: BareSubject) -> bool:
    """Whether the module itself has weights of half precision."""
    return any(parameter.dtype in HALF for parameter in subject.original.parameters())
