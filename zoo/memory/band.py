"""Banded attention over a memory ring, in blocks.

A ring of `capacity` slots is written `rows` times a step by all rows of a group. Laid out flat and padded, the key
written at step t by row j stands at `capacity + t·rows + j`; what was carried in stands right before `capacity`. A
query of step t sees the `capacity` slots that end just before its own step. So one band describes isolated rings (a
group for each sequence, one row) and a shared ring (one group, the whole batch as rows).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

BLOCK_QUERIES = 64


@dataclass(frozen=True)
class Band:
    """The geometry of one forward call: who sees which slot."""

    capacity: int
    carried: int
    """Slots that were filled before this call, at most `capacity`."""
    steps: int
    rows: int

    @property
    def block_steps(self) -> int:
        return max(1, min(self.steps, BLOCK_QUERIES // self.rows))

    @property
    def num_blocks(self) -> int:
        return -(-self.steps // self.block_steps)

    @property
    def block_queries(self) -> int:
        return self.block_steps * self.rows

    @property
    def span(self) -> int:
        """Slots that any query of one block may see."""
        return self.capacity + self.block_queries - self.rows

    @property
    def sees_something(self) -> bool:
        """Whether any query sees any slot."""
        return self.carried > 0 or self.steps > 1

    @property
    def length(self) -> int:
        """Slots of the padded flat layout."""
        return self.capacity + self.num_blocks * self.block_queries

    def flat(
        self, carried: Float[Tensor, "groups carried hidden"], new: Float[Tensor, "groups written hidden"]
    ) -> Float[Tensor, "groups length hidden"]:
        """What was carried in, then what this call writes, padded to the flat layout."""
        before = self.capacity - self.carried
        after = self.length - self.capacity - new.shape[1]
        return F.pad(torch.cat([carried, new], dim=1), (0, 0, before, after))

    def windows(self, flat: Float[Tensor, "groups length hidden"]) -> Float[Tensor, "groups blocks hidden span"]:
        """For every block the slots that it may see: a view of `flat`."""
        windows: Tensor = flat.unfold(1, self.span, self.block_queries)
        return windows[:, : self.num_blocks]

    def blocks(
        self, queries: Float[Tensor, "groups asked hidden"]
    ) -> Float[Tensor, "groups blocks block_queries hidden"]:
        """Queries [G, steps·rows, D] cut into blocks, padded with zeros at the end."""
        padding = self.num_blocks * self.block_queries - queries.shape[1]
        blocks: Tensor = F.pad(queries, (0, 0, 0, padding)).unflatten(1, (self.num_blocks, self.block_queries))
        return blocks

    def unblock(
        self, blocks: Float[Tensor, "groups blocks block_queries hidden"]
    ) -> Float[Tensor, "groups asked hidden"]:
        """The inverse of `blocks`."""
        return blocks.flatten(1, 2)[:, : self.steps * self.rows]

    def visible(self, device: torch.device) -> Bool[Tensor, "blocks block_queries span"]:
        """Whether a query of a block sees a slot of the block's window."""
        step_start = torch.arange(self.block_steps, device=device).repeat_interleave(self.rows) * self.rows
        offset = torch.arange(self.span, device=device) - step_start[:, None]
        inside = (offset >= 0) & (offset < self.capacity)
        block_start = torch.arange(self.num_blocks, device=device) * self.block_queries
        slot = block_start[:, None] + torch.arange(self.span, device=device)
        filled = slot >= self.capacity - self.carried
        asked = block_start[:, None] + torch.arange(self.block_queries, device=device) < self.steps * self.rows
        return inside[None] & filled[:, None] & asked[:, :, None]

    def ages(self, device: torch.device) -> Int[Tensor, "block_queries span"]:
        """Age in steps of a slot when a query reads it; 1 is the step before. The same in every block."""
        step_start = torch.arange(self.block_steps, device=device).repeat_interleave(self.rows) * self.rows
        distance = self.capacity + step_start[:, None] - torch.arange(self.span, device=device)
        return torch.div(distance + self.rows - 1, self.rows, rounding_mode="floor").clamp_min(1)

    def fold(self, per_window: Float[Tensor, "groups blocks span"]) -> Float[Tensor, "groups length"]:
        """Sum the gradients of each block's slots back onto the flat layout."""
        width, blocks = self.block_queries, self.num_blocks
        parts = -(-self.span // width)
        cut = F.pad(per_window, (0, parts * width - self.span)).unflatten(2, (parts, width))
        folded = per_window.new_zeros(len(per_window), blocks + parts, width)
        for part in reversed(range(parts)):  # so that each slot sums its blocks from the first
            folded[:, part : part + blocks] += cut[:, :, part]
        return folded.flatten(1)[:, : self.length]


def banded_scores(
    queries: Float[Tensor, "groups asked hidden"],
    flat_keys: Float[Tensor, "groups length hidden"],
    band: Band,
    visible: Bool[Tensor, "blocks block_queries span"],
    decay_per_step: Float[Tensor, "groups 1 1 1"] | None,
) -> Float[Tensor, "groups blocks block_queries span"]:
    """q·k / √D − decay · age at the visible slots, the lowest number elsewhere.

    `queries` and `flat_keys` are already projected.
    """
    scale = queries.shape[-1] ** -0.5
    scores = torch.matmul(band.blocks(queries), band.windows(flat_keys)) * scale
    if decay_per_step is not None:
        scores = scores - decay_per_step * band.ages(scores.device)
    masked: Tensor = scores.masked_fill(~visible, torch.finfo(scores.dtype).min)
    return masked


def banded_weights(
    scores: Float[Tensor, "groups blocks block_queries span"], visible: Bool[Tensor, "blocks block_queries span"]
) -> Float[Tensor, "groups blocks block_queries span"]:
    """Attention weights over the visible slots: the softmax of `banded_scores`; a query that sees none gets zeros."""
    return torch.softmax(scores, dim=-1) * visible


def banded_read(
    weights: Float[Tensor, "groups blocks block_queries span"],
    flat_values: Float[Tensor, "groups length hidden"],
    band: Band,
) -> Float[Tensor, "groups asked hidden"]:
    """The weighted sum of the values that each query sees."""
    return band.unblock(torch.matmul(weights, band.windows(flat_values).transpose(-1, -2)))
