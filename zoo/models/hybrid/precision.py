"""Sidecars compute in float32 or wider, whatever the base, autocast or their weights are kept in.

Normalising short keys and read-outs multiplies gradients by up to a thousand each: float16 ends at 65504. Sidecars are
a few percent of the base, so this costs little.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from cortexzoo.zoo.ops.precision import compute_dtype


def widened(x: Tensor, weight: Tensor) -> Tensor:
    """x in the dtype that a sidecar with such weights computes in."""
    return x.to(compute_dtype(x, weight))


def wide_linear(linear: nn.Linear, x: Float[Tensor, "*batch fan_in"]) -> Float[Tensor, "*batch fan_out"]:
    """`linear` in the dtype of x."""
    bias: Tensor | None = linear.bias
    return F.linear(x, linear.weight.to(x.dtype), None if bias is None else bias.to(x.dtype))


def wide_dtype(weight: Tensor) -> torch.dtype:
    """The dtype of everything that a sidecar with such weights carries from call to call."""
    return compute_dtype(weight)
