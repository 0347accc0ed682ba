"""The meta device, on which models have shapes and no weights, made fit for transformers."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


def note_what_creates_tensors() -> None:
    """Let torch note its functions that create tensors; to be called before transformers loads weights.

    torch notes them once, when the meta device is first used. Were that while transformers has replaced
    `torch.linspace`, every later model built on the meta device would contain real tensors.
    """
    with torch.device("meta"):
        torch.empty(0)


@contextmanager
def autocast_off() -> Iterator[None]:
    """Models run on the meta device, where torch has no autocast: transformers 4 switches it off by device."""
    real = torch.autocast

    def autocast(device_type: str, *arguments: Any, **options: Any) -> AbstractContextManager[Any]:
        return nullcontext() if device_type == "meta" else real(device_type, *arguments, **options)

    torch.autocast = autocast  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        torch.autocast = real  # type: ignore[misc]


class AnyValue(TorchDispatchMode):
    """Gives the few values that a model reads: every flag is true, and a mask selects all."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        call: Callable[..., Any] = func
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
            return True
        if func is torch.ops.aten.index.Tensor:
            args = (args[0], [index for given in args[1] for index in _all_of(given)])
        if str(func) == "aten._grouped_mm.default" and args[0].dtype != torch.bfloat16:
            # On the meta device torch multiplies matrices of experts in bfloat16 alone, elsewhere in other types too.
            return call(*(given.bfloat16() for given in args[:2]), *args[2:], **(kwargs or {})).to(args[0].dtype)
        return call(*args, **(kwargs or {}))


def _all_of(index: Tensor | None) -> list[Tensor | None]:
    """An index by numbers in place of a mask."""
    if index is None or index.dtype != torch.bool:
        return [index]
    return [torch.empty(index.numel(), dtype=torch.long, device="meta")] * index.ndim
