"""What every submodule was given and returned, call by call, and the gradients that came back."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


@dataclass(eq=False)
class Call:
    """One call of a submodule: its tensors before and after, copied."""

    name: str
    """As in `named_modules`; empty: the model itself."""
    module: nn.Module
    parent: "Call | None"
    inputs: list[Tensor]
    outputs: list[Tensor] = field(default_factory=list)
    inner: list["Call"] = field(default_factory=list)
    occurrence: int = 0
    """How often the submodule was called before."""
    gradient: Tensor | None = None
    """Of the first output, once a backward pass has reached it."""

    @property
    def ancestors(self) -> Iterator["Call"]:
        """This call, then the one that made it, and so on."""
        call: Call | None = self
        while call is not None:
            yield call
            call = call.parent


@dataclass
class Trace:
    """The calls in the order in which they ended, and those whose gradients arrived, in that order."""

    length: int = 0
    """Tokens of the sequence that the model was called with."""
    calls: list[Call] = field(default_factory=list)
    backward: list[Call] = field(default_factory=list)

    def add(self, call: Call) -> None:
        """Note a call that has ended."""
        call.occurrence = sum(1 for other in self.calls if other.name == call.name)
        self.calls.append(call)


@contextmanager
def traced(model: nn.Module, length: int = 0) -> Iterator[Trace]:
    """Watch every submodule of `model` for as long as the context lasts."""
    trace, open_calls = Trace(length=length), list[Call]()

    def enter(name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        call = Call(name, module, open_calls[-1] if open_calls else None, _copies((args, kwargs)))
        if call.parent is not None:
            call.parent.inner.append(call)
        open_calls.append(call)

    def leave(module: nn.Module, result: Any) -> None:
        while open_calls:  # a call that raised and was caught inside the model never left
            call = open_calls.pop()
            if call.module is module:
                break
        else:
            return
        call.outputs = _copies(result)
        trace.add(call)
        first = next((leaf for leaf in tree_leaves(result) if _is_float(leaf)), None)
        if first is not None and first.requires_grad:
            first.register_hook(lambda gradient: _note(trace, call, gradient))

    handles = []
    for name, module in model.named_modules():
        handles.append(
            module.register_forward_pre_hook(
                lambda m, args, kwargs, name=name: enter(name, m, args, kwargs), with_kwargs=True
            )
        )
        handles.append(module.register_forward_hook(lambda m, args, result: leave(m, result)))
    try:
        yield trace
    finally:
        for handle in handles:
            handle.remove()


def _note(trace: Trace, call: Call, gradient: Tensor) -> None:
    call.gradient = gradient.detach().clone()
    trace.backward.append(call)


def _copies(values: Any) -> list[Tensor]:
    return [leaf.detach().clone() for leaf in tree_leaves(values) if isinstance(leaf, Tensor) and not leaf.is_sparse]


def _is_float(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point() and not leaf.is_sparse
