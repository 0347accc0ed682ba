"""Positions that a module of half precision counts in its own dtype: beyond 256, or 2,048, neighbours are equal."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from cortexzoo.harness.checking.modules.subject import BareSubject

HALF = {torch.bfloat16: 257, torch.float16: 2049}
"""The first whole number that each of them does not have."""


class Positions(TorchDispatchMode):
    """Notes the first operation that makes whole numbers, one after the other, into floats of which some are equal."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.first = ""

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").partition(".")[0].strip("_")
        if not self.first and isinstance(result, Tensor) and result.dtype in HALF and result.shape[-1:] > (1,):
            counts = name == "arange" or (name == "to_copy" and _ascends(args[0]))
            if counts and bool((result.diff(dim=-1) == 0).any()):
                dtype = str(result.dtype).removeprefix("torch.")
                self.first = f"a result of {name} in {dtype} has equal positions from {HALF[result.dtype] - 1} on"
        return result


def _ascends(given: Any) -> bool:
    """Whether it is made of whole numbers, each one more than the one before."""
    whole = isinstance(given, Tensor) and not given.is_floating_point() and given.dtype != torch.bool
    return whole and given.shape[-1:] > (1,) and bool((given.diff(dim=-1) == 1).all())


def is_half(subject: BareSubject) -> bool:
    """Whether the module itself has weights of half precision."""
    return any(parameter.dtype in HALF for parameter in subject.original.parameters())


@torch.no_grad()
def rounded_positions(subject: BareSubject, inputs: Tensor) -> str:
    """What went wrong with the positions of a call; "" where nothing did."""
    model, seen = subject.copy(), Positions()
    with torch.random.fork_rng(devices=[]), seen:
        torch.manual_seed(0)
        subject.call(model, inputs, subject.begin(model, len(inputs)))
    return seen.first
