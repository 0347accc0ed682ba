"""The meta device, on which models have shapes and no weights, made fit for transformers."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch


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
