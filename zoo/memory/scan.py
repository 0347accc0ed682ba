"""The light scan: what the memory stores when it stores its own output, one step after the other.

Everything that the stored values do not enter is computed before, for all steps at once; the scan adds the rest.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from cortexzoo.zoo.memory.gate import MemoryGate
from cortexzoo.zoo.memory.short_term import ReadPlan, ShortTermMemory, ShortTermState


@dataclass(frozen=True)
class Scan:
    """What one call has before the stored values: current vectors, long-term read-out, and its part of the gate."""

    ring: ShortTermMemory
    gate: MemoryGate
    x: Float[Tensor, "groups asked hidden"]
    from_long: Float[Tensor, "groups asked hidden"] | None
    partial: Float[Tensor, "groups asked sources"]
    live: Bool[Tensor, "asked sources"]

    def stored_values(self, plan: ReadPlan, state: ShortTermState) -> Float[Tensor, "groups length hidden"]:
        """The stored values of all steps, in the flat layout. A block reads everything before it in one product."""
        band, rows = plan.band, plan.band.rows
        split, merge = self.ring.split_heads, self.ring.merge_heads
        recent = split(F.pad(state.values, (0, 0, band.capacity - band.carried, 0)))
        written: list[Tensor] = []
        for block, start in enumerate(range(0, self.x.shape[1], band.block_queries)):
            from_past = plan.weights[:, block, :, : band.capacity] @ recent
            within = plan.weights[:, block, :, band.capacity :]
            fresh: list[Tensor] = []  # in heads: [groups · heads, rows, head_dim]
            for first in range(0, min(band.block_queries, self.x.shape[1] - start), rows):
                retrieved = from_past[:, first : first + rows]
                if fresh:
                    retrieved = retrieved + within[:, first : first + rows, :first] @ torch.cat(fresh, dim=1)
                output = self._step(merge(retrieved), slice(start + first, start + first + rows), plan)
                written.append(output)
                fresh.append(split(output))
            recent = torch.cat([recent, *fresh], dim=1)[:, -band.capacity :]
        return band.flat(state.values, torch.cat(written, dim=1))

    def _step(self, retrieved: Float[Tensor, "groups rows hidden"], here: slice, plan: ReadPlan) -> Tensor:
        read = self.ring.read_out(retrieved, None if plan.keep is None else plan.keep[:, here])
        shares = self.gate.shares(self.partial[:, here] + self.gate.short_term_logits(read), self.live[here])
        return mix(shares, self.x[:, here], read, None if self.from_long is None else self.from_long[:, here])


def mix(
    shares: Float[Tensor, "groups asked sources"],
    current: Float[Tensor, "groups asked hidden"],
    short_term: Float[Tensor, "groups asked hidden"] | None,
    long_term: Float[Tensor, "groups asked hidden"] | None,
) -> Float[Tensor, "groups asked hidden"]:
    """g₀ · current + g₁ · short_term + g₂ · long_term; a source that is None adds nothing."""
    mixed = shares[..., 0:1] * current
    for i, source in ((1, short_term), (2, long_term)):
        if source is not None:
            mixed = mixed + shares[..., i : i + 1] * source
    return mixed
