"""Watching the operations of a pass, one after the other."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from cortexzoo.harness.checking.modules.subject import BareSubject


class Watch(TorchDispatchMode):
    """Sees each operation of torch while it is entered."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.see(getattr(func, "__name__", "").partition(".")[0].strip("_"), result, args, kwargs or {})
        return result

    @abstractmethod
    def see(self, name: str, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """One operation: its name without its overload, what it gave, and what it was given."""


class FirstFault(Watch):
    """Notes in words the first operation that goes wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.first = ""

    def see(self, name: str, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self.first and isinstance(result, Tensor) and result.is_floating_point():
            self.first = self.fault(name, result, args, kwargs)

    @abstractmethod
    def fault(self, name: str, result: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """What is wrong with a result of floating point; "": nothing."""


@torch.no_grad()
def first_fault(watch: FirstFault, subject: BareSubject, inputs: Tensor) -> str:
    """What goes wrong first in a call; "" where nothing does."""
    model = subject.copy()
    with torch.random.fork_rng(devices=[]), watch:
        torch.manual_seed(0)
        subject.call(model, inputs, subject.begin(model, len(inputs)))
    return watch.first
