"""Shapes that queries, keys and values must have together."""

from torch import Tensor


def check_shapes(q: Tensor, k: Tensor, v: Tensor) -> tuple[int, int, int, int]:
    """Batch, time, heads and key_dim. Raises ValueError, in one line, unless q, k and v fit together."""
    if q.dim() != 4 or k.shape != q.shape:
        raise ValueError(f"q and k must both be [batch, time, heads, key_dim], got {list(q.shape)} and {list(k.shape)}")
    batch, time, heads, key_dim = q.shape
    if v.dim() != 4 or v.shape[:3] != q.shape[:3]:
        raise ValueError(f"v must be [{batch}, {time}, {heads}, value_dim] to match q, got {list(v.shape)}")
    if min(batch, heads, key_dim, v.shape[-1]) < 1:
        sizes = f"{batch}, {heads}, {key_dim}, {v.shape[-1]}"
        raise ValueError(f"batch, heads, key_dim and value_dim must be at least 1, got {sizes}")
    return batch, time, heads, key_dim
