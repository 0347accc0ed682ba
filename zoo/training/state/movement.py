"""How far weights move in a step."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Movement:
    """Made before parameters change, it tells afterwards how far they moved.

    All elements are compared, or with `most` so many of each parameter at most, evenly spread over it.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], most: int | None = None) -> None:
        self._parameters = [parameter for parameter in parameters if parameter.numel()]
        self._most = most
        self._before = [part.clone() for part in self._parts()]

    def rms(self) -> float:
        """Root mean square of the change; NaN where there is no parameter."""
        if not self._before:
            return math.nan
        changes = torch._foreach_sub(self._parts(), self._before)
        elements = sum(part.numel() for part in self._before)
        return float(norms(list(changes)).norm()) / math.sqrt(elements)

    def _parts(self) -> list[Tensor]:
        whole = [parameter.detach() for parameter in self._parameters]
        if self._most is None:
            return whole
        return [part.flatten()[:: -(-part.numel() // self._most)] for part in whole]


def norms(tensors: list[Tensor]) -> Tensor:
    """L2 norm of each, at least one, in float32 and on the device of the first."""
    found = torch._foreach_norm(tensors)
    return torch.stack([norm.float().to(found[0].device) for norm in found])
