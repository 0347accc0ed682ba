"""How much of a sequence to work on at once."""

import torch

_CPU_SPAN_TOKENS = 2048
"""Tokens times batch times heads. At 64 dimensions a step's tensors take some 3 MB, which stay in the cache from one
operation to the next and are reused instead of being allocated anew; twice or half as many were slower."""


def blocks_in_span(block_size: int, batch_heads: int, device: torch.device) -> int | None:
    """Number of blocks to process together on this device; None means all of them, where launches cost more."""
    return max(1, _CPU_SPAN_TOKENS // (block_size * batch_heads)) if device.type == "cpu" else None


_CPU_SPAN_NUMBERS = 1 << 21
"""Numbers of one tensor of hidden units: 8 MB in float32."""


def rows_in_span(units: int, device: torch.device) -> int:
    """Number of rows of so many hidden units to process together on this device."""
    return max(1, _CPU_SPAN_NUMBERS // units) if device.type == "cpu" else 1 << 30
