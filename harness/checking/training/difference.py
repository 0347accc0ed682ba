"""How far tensors of a training are from those of an independent loop, in terms of what training changed."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

LEAST_SCALE = 1e-2


def relative(
    kind: str, named: Mapping[str, tuple[Tensor | None, Tensor, Tensor | None]], least: float = LEAST_SCALE
) -> dict[str, float]:
    """For (tensor, reference, start) by name: |tensor − reference| / |reference − start|, or / |reference|.

    Where hardly anything changed, as of a bias that softmax cancels, relative to `least` of the whole, a hundredth
    unless given. Infinity for what is missing, has another shape or is not finite.
    """
    scales = {n: float((t.double() - (0 if s is None else s.double())).norm()) for n, (_, t, s) in named.items()}
    floor = least * math.hypot(*scales.values())
    return {f"{kind} {n}": _apart(own, t, max(scales[n], floor)) for n, (own, t, _) in named.items()}


def _apart(tensor: Tensor | None, reference: Tensor, scale: float) -> float:
    if tensor is None or tensor.shape != reference.shape:
        return math.inf
    if torch.equal(tensor, reference):
        return 0.0
    apart = float((tensor.double() - reference.double()).norm()) / scale if scale else math.inf
    return math.inf if math.isnan(apart) else apart
