"""The inverse of a batch of unit lower triangular matrices, by blocks."""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

_LEAF = 16


def unit_lower_inverse(strictly_lower: Float[Tensor, "batch size size"]) -> Float[Tensor, "batch size size"]:
    """Inverse of I + A for each strictly lower triangular A of a batch.

    A block matrix [[L1, 0], [A21, L2]] has the inverse [[X1, 0], [-X2 A21 X1, X2]] with Xi = inverse of Li. Blocks grow
    from 1x1, which are ones, by doubling. Every step is a substitution, so it is as exact as a triangular solve.

    Source: block forward substitution, textbook (Golub and Van Loan, Matrix Computations, sec. 3.1).
    Differs: no Neumann series (I - A)(I + A^2)(I + A^4)...: its terms cancel for correlated keys (relative error 6e8
    for equal keys that are written at full strength).

    Entries on and above the diagonal must be zero; they are trusted, not read.
    """
    size = strictly_lower.shape[-1]
    padded_size = 1 << max(size - 1, 0).bit_length()
    if padded_size != size:
        extra = padded_size - size
        return unit_lower_inverse(pad(strictly_lower, (0, extra, 0, extra)))[:, :size, :size].contiguous()

    block = min(size, _LEAF)
    inverse = _invert_leaves(_along_diagonal(strictly_lower, block).reshape(-1, block, block))
    while block < size:
        inverse = _join_pairs(inverse, _along_diagonal(strictly_lower, 2 * block)[:, :, block:, :block].flatten(0, 1))
        block *= 2
    return inverse


def _along_diagonal(matrices: Tensor, block: int) -> Tensor:
    """The block x block matrices on the diagonal of each: [batch, size / block, block, block]."""
    tiles: Tensor = matrices.unflatten(1, (-1, block)).unflatten(3, (-1, block))
    return tiles.diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)


def _invert_leaves(leaves: Tensor) -> Tensor:
    """As unit_lower_inverse, on whole leaves with masks: products this small cost less than taking them apart."""
    leaf = leaves.shape[-1]
    # From the identity the first doubling needs no product.
    identity = torch.eye(leaf, dtype=leaves.dtype, device=leaves.device)
    inverse = torch.addcmul(identity, leaves, _lower_left_mask(leaf, 1, leaves.dtype, leaves.device), value=-1)
    half = 2
    while half < leaf:
        coupling = leaves * _lower_left_mask(leaf, half, leaves.dtype, leaves.device)
        inverse = torch.baddbmm(inverse, torch.bmm(inverse, coupling), inverse, alpha=-1)
        half *= 2
    return inverse


def _join_pairs(inverse: Tensor, below: Tensor) -> Tensor:
    """Inverses of matrices of twice the size, from those of their diagonal blocks and the blocks below them."""
    pairs = inverse.unflatten(0, (-1, 2))
    upper_left, lower_right = pairs.unbind(1)
    count, _, block, _ = pairs.shape
    joined = inverse.new_zeros(count, 2, block, 2, block)
    joined.diagonal(dim1=1, dim2=3).copy_(pairs.permute(0, 2, 3, 1))
    torch.neg(torch.bmm(lower_right, torch.bmm(below, upper_left)), out=joined[:, 1, :, 0])
    return joined.view(count, 2 * block, 2 * block)


@lru_cache(maxsize=64)
def _lower_left_mask(size: int, half: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Ones in the lower left half x half of every 2*half block on the diagonal."""
    index = torch.arange(size, device=device)
    same_block = index[:, None] // (2 * half) == index[None, :] // (2 * half)
    lower = (index // half % 2 == 1)[:, None]
    left = (index // half % 2 == 0)[None, :]
    return (same_block & lower & left).to(dtype)
