"""Gradients that differ from the slope on purpose: passed straight through a step or a choice, scaled, or added to."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from cortexzoo.harness.checking.modules.watching import Watch

STEPS = {"round", "sign", "sgn", "floor", "ceil", "trunc", "heaviside", "bernoulli"}
"""Their slope is zero: a gradient that is not is meant so."""
CHOICES = {"argmax", "argmin", "max", "min", "topk", "sort", "gt", "ge", "lt", "le"}
"""They choose; straight through if besides `hard − soft` is detached, or `soft.detach()` subtracted."""
PASSES = {"alias", "clone", "detach", "view"}
"""They compute nothing."""
CLOSE = 1e-12
"""Relative difference in float64, below which two results are the same value, computed in two ways."""


class StraightThrough(Watch):
    """Watches the operations of a pass.

    A value beside what was detached of it (`x − x.detach()`, `torch.lerp(x.detach(), x, a)`), or the two weighted to
    the value itself (`a · x + (1 − a) · x.detach()`), scales a gradient, and is of no other use.
    """

    def __init__(self) -> None:
        super().__init__()
        self._steps = self._chooses = self._detaches = self._scales = False
        self._differences: list[Tensor] = []
        self._constants: list[Tensor] = []
        self._sources: list[Tensor] = []
        """What each of the constants was detached from."""

    @property
    def found(self) -> bool:
        """Whether the pass had such an estimator."""
        return self._steps or self._scales or (self._chooses and self._detaches)

    def see(self, name: str, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
        if name == "bernoulli" and len(given) == 1 and result is given[0]:
            return  # the mask of dropout, of one probability for all: nothing that was computed is rounded
        if name in ("sub", "rsub", "div", "lerp"):
            self._scales |= self._beside_its_own(given)
        elif name == "add" and isinstance(result, Tensor):
            self._scales |= self._is_whole_again(result, given)
        if name in STEPS | CHOICES and given and given[0].is_floating_point():
            self._steps |= name in STEPS
            self._chooses |= name in CHOICES
        elif name in ("sub", "rsub") and isinstance(result, Tensor):
            self._detaches |= _among(given, self._constants)
            self._differences.append(result)
        elif name == "detach" and isinstance(result, Tensor):
            self._detaches |= _among(given, self._differences)
            self._constants.append(result)
            self._sources.append(given[0])

    def _beside_its_own(self, given: list[Tensor]) -> bool:
        """Whether one of the operands is what was detached of another."""
        pairs = zip(self._constants, self._sources, strict=True)
        return any(_among([one], given) and _among([other], given) for one, other in pairs)

    def _is_whole_again(self, result: Tensor, given: list[Tensor]) -> bool:
        """Whether a sum, no part of which is zero, is a value that was detached before."""
        if not all(bool(part.any()) for part in given):
            return False
        alike = (constant for constant in self._constants if constant.shape == result.shape and bool(constant.any()))
        return any(torch.allclose(result, constant, rtol=CLOSE, atol=0.0) for constant in alike)


class _Operations(Watch):
    """The names of the operations of a pass."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def see(self, name: str, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.names.add(name)


@contextmanager
def without_gradient_functions() -> Iterator[None]:
    """An own function of torch.autograd that computes nothing and gives its input back is left out.

    It is there for its gradient alone: scaled, reversed, clipped, or with that of a further loss.
    """
    kept = torch.autograd.Function.__dict__["apply"]

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        with _Operations() as seen:
            result = kept.__func__(cls, *args, **kwargs)
        given = next((value for value in args if isinstance(value, Tensor)), None)
        if given is None or not isinstance(result, Tensor) or not seen.names <= PASSES:
            return result
        return given if torch.equal(result, given) else result

    torch.autograd.Function.apply = classmethod(apply)  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        torch.autograd.Function.apply = kept  # type: ignore[method-assign]


def _among(given: list[Tensor], known: list[Tensor]) -> bool:
    return any(one is other for one in given for other in known)
