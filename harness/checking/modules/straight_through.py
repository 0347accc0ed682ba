"""Whether a module rounds or chooses and passes the gradient straight through, so that it differs from the slope."""

from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from cortexzoo.harness.checking.modules.watching import Watch

STEPS = {"round", "sign", "sgn", "floor", "ceil", "trunc", "heaviside", "bernoulli"}
"""Their slope is zero: a gradient that is not is meant so."""
CHOICES = {"argmax", "argmin", "max", "min", "topk", "sort", "gt", "ge", "lt", "le"}
"""They choose; straight through if besides `hard − soft` is detached, or `soft.detach()` subtracted."""


class StraightThrough(Watch):
    """Watches the operations of a pass."""

    def __init__(self) -> None:
        super().__init__()
        self._steps = self._chooses = self._detaches = False
        self._differences: list[Tensor] = []
        self._constants: list[Tensor] = []

    @property
    def found(self) -> bool:
        """Whether the pass had such an estimator."""
        return self._steps or (self._chooses and self._detaches)

    def see(self, name: str, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
        if name == "bernoulli" and len(given) == 1 and result is given[0]:
            return  # the mask of dropout, of one probability for all: nothing that was computed is rounded
        if name in STEPS | CHOICES and given and given[0].is_floating_point():
            self._steps |= name in STEPS
            self._chooses |= name in CHOICES
        elif name in ("sub", "rsub") and isinstance(result, Tensor):
            self._detaches |= _among(given, self._constants)
            self._differences.append(result)
        elif name == "detach" and isinstance(result, Tensor):
            self._detaches |= _among(given, self._differences)
            self._constants.append(result)


def _among(given: list[Tensor], known: list[Tensor]) -> bool:
    return any(one is other for one in given for other in known)
