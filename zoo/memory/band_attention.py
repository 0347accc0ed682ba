"""Attention over a memory ring, fused: scores, softmax and read-out block by block, with a written-out backward pass.

Equals `banded_scores`, `banded_weights` and `banded_read` of the same band. Slots that cannot have been filled are left
out of a block instead of being masked, and what is as large as all scores exists once.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cortexzoo.zoo.memory.band import Band
from cortexzoo.zoo.ops.precision import autocast_is_on

Queries = Float[Tensor, "groups_heads asked head_dim"]
Slots = Float[Tensor, "groups_heads length head_dim"]


class Reading(NamedTuple):
    """What the ring gave, and what reading it left behind."""

    retrieved: Float[Tensor, "groups_heads asked head_dim"]
    mass: Float[Tensor, "groups_heads length"]
    """Attention that each slot received; it takes no gradient."""
    largest: Float[Tensor, ""]
    """The largest score of a visible slot, the lowest number where none is; it takes no gradient."""


def fused_band_attention(
    queries: Queries, keys: Slots, values: Slots, band: Band, decay: Float[Tensor, " heads"] | None
) -> Reading:
    """softmax(q·k / √d − decay · age) V over the visible slots; a query that sees none reads zeros.

    `keys` and `values` are in the flat layout of `band`; heads vary fastest in the first dimension.
    """
    given = queries.new_zeros(1) if decay is None else decay
    return Reading(*_BandAttention.apply(queries, keys, values, given, band))  # type: ignore[no-untyped-call]


def fuses(device: torch.device) -> bool:
    """Whether the fused form pays here: on a GPU its many launches would cost more, and autocast cannot see inside."""
    return device.type in ("cpu", "meta") and not autocast_is_on(device)


@dataclass(frozen=True)
class Block:
    """Some queries, and the slots that any of them may see."""

    asked: slice
    slots: slice
    ages: Int[Tensor, "asked slots"]
    hidden: Bool[Tensor, "asked slots"]
    """Where a slot is not visible to a query."""
    blind: int
    """Queries from the first that see no slot at all."""


def blocks_of(band: Band, device: torch.device) -> list[Block]:
    """The blocks of a band that see something."""
    blocks: list[Block] = []
    ages = band.ages(device)
    step_start = torch.arange(band.block_steps, device=device).repeat_interleave(band.rows) * band.rows
    offset = torch.arange(band.span, device=device) - step_start[:, None]
    outside = (offset < 0) | (offset >= band.capacity)
    for index in range(band.num_blocks):
        begin = index * band.block_queries
        asked = slice(begin, min(begin + band.block_queries, band.steps * band.rows))
        count = asked.stop - begin
        # The newest slot that the last of these queries sees lies right before its step.
        slots = slice(max(begin, band.capacity - band.carried), band.capacity + asked.stop - band.rows)
        if slots.start >= slots.stop:
            continue
        here = slice(slots.start - begin, slots.stop - begin)
        hidden = outside[:count, here]
        blind = band.rows if begin == 0 and band.carried == 0 else 0
        blocks.append(Block(asked, slots, ages[:count, here], hidden, blind))
    return blocks


class _BandAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor, band: Band
    ) -> tuple[Tensor, Tensor, Tensor]:
        scale, lowest = queries.shape[-1] ** -0.5, torch.finfo(queries.dtype).min
        retrieved, mass = torch.zeros_like(queries), keys.new_zeros(keys.shape[:2])
        largest = queries.new_full((), lowest)
        blocks, kept = blocks_of(band, queries.device), []
        for block in blocks:
            bias = (-decay[:, None, None] * block.ages).masked_fill_(block.hidden, lowest)
            scores = bias.repeat(len(queries) // len(decay), 1, 1)
            scores.baddbmm_(queries[:, block.asked], keys[:, block.slots].mT, alpha=scale)
            largest = torch.maximum(largest, scores.amax())
            weights = torch.softmax(scores, -1, out=scores)
            weights[:, : block.blind] = 0
            retrieved[:, block.asked] = torch.bmm(weights, values[:, block.slots])
            mass[:, block.slots] += weights.sum(dim=1)
            kept.append(weights)
        ctx.mark_non_differentiable(mass, largest)
        ctx.blocks, ctx.scale, ctx.heads = blocks, scale, len(decay)
        ctx.save_for_backward(queries, keys, values, *kept)
        return retrieved, mass, largest

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_retrieved: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, values, *kept = ctx.saved_tensors
        d_queries, d_keys = torch.zeros_like(queries), torch.zeros_like(keys)
        d_values = torch.zeros_like(values) if ctx.needs_input_grad[2] else None
        d_decay = queries.new_zeros(ctx.heads)
        for block, weights in zip(ctx.blocks, kept, strict=True):
            upstream = d_retrieved[:, block.asked]
            if d_values is not None:
                d_values[:, block.slots].baddbmm_(weights.mT, upstream)
            d_scores = torch.bmm(upstream, values[:, block.slots].mT)
            torch.ops.aten._softmax_backward_data.out(d_scores, weights, -1, d_scores.dtype, grad_input=d_scores)
            d_queries[:, block.asked] = torch.bmm(d_scores, keys[:, block.slots]).mul_(ctx.scale)
            d_keys[:, block.slots].baddbmm_(d_scores.mT, queries[:, block.asked], alpha=ctx.scale)
            if ctx.needs_input_grad[3]:
                aged = d_scores.flatten(1) @ block.ages.flatten().to(d_scores.dtype)
                d_decay -= aged.unflatten(0, (-1, ctx.heads)).sum(dim=0)
        return d_queries, d_keys, d_values, d_decay if ctx.needs_input_grad[3] else None, None
