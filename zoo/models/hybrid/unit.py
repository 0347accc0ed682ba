"""Vectors of unit length."""

import torch
from jaxtyping import Float
from torch import Tensor

UNIT_EPS = 1e-6


def unit(x: Float[Tensor, "*batch dim"], eps: float = UNIT_EPS) -> Float[Tensor, "*batch dim"]:
    """x / sqrt(|x|^2 + eps): finite, with a finite gradient, at zero too."""
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + eps)
