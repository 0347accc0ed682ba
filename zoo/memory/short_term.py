"""Short-term memory: a ring of stored (key, value) pairs, read by attention, written with the memory's own output."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from cortexzoo.specs.memory import ProjectedReadOut, ShortTermRing
from cortexzoo.zoo.memory.band import Band, banded_read, banded_scores, banded_weights
from cortexzoo.zoo.memory.band_attention import Reading, fused_band_attention, fuses

FASTEST_DECAY, SLOWEST_DECAY = 2.0, 0.05
"""Nats of score lost per token of age in the first and the last head before training; heads between are spread evenly
in the logarithm. A single head starts at their geometric mean."""


@dataclass(frozen=True)
class ShortTermState:
    """The ring's contents, oldest first: raw keys and values, and how often each pair was read.

    `groups` is the batch (isolated rings) or 1 (one ring shared by the batch).
    """

    keys: Float[Tensor, "groups filled hidden"]
    values: Float[Tensor, "groups filled hidden"]
    reads: Float[Tensor, "groups filled"]

    @property
    def filled(self) -> int:
        return self.keys.shape[1]

    @classmethod
    def empty(cls, groups: int, hidden_size: int, like: Tensor) -> "ShortTermState":
        """Empty rings, with the dtype and device of `like`."""
        pairs = like.new_zeros(groups, 0, hidden_size)
        return cls(pairs, pairs, like.new_zeros(groups, 0))


@dataclass(frozen=True)
class ReadPlan:
    """What reading needs and stored outputs do not change: projected queries and keys, and the layout they refer to."""

    band: Band
    queries: Float[Tensor, "groups_heads asked head_dim"]
    keys: Float[Tensor, "groups_heads length head_dim"]
    decay: Float[Tensor, " heads"] | None
    """Nats of score lost for each token of age."""
    flat_keys: Float[Tensor, "groups length hidden"]
    keep: Float[Tensor, "groups asked hidden"] | None
    """Dropout mask of the read-out, already divided by the keep probability; None: no dropout."""

    @cached_property
    def scores(self) -> Float[Tensor, "groups_heads blocks block_queries span"]:
        """The attention logits, the lowest number where a slot is not visible."""
        decay = self.decay
        if decay is not None:
            decay = decay.repeat(len(self.queries) // len(decay))[:, None, None, None]
        return banded_scores(self.queries, self.keys, self.band, self._visible, decay)

    @cached_property
    def weights(self) -> Float[Tensor, "groups_heads blocks block_queries span"]:
        """Attention over the slots, with the gradients of queries and keys wherever it is first asked for."""
        with torch.enable_grad():
            return banded_weights(self.scores, self._visible)

    @cached_property
    def _visible(self) -> Tensor:
        return self.band.visible(self.queries.device)

    def attended(self, values: Float[Tensor, "groups_heads length head_dim"]) -> Reading:
        """What the slots' values give, fused where that pays."""
        if fuses(self.queries.device):
            return fused_band_attention(self.queries, self.keys, values, self.band, self.decay)
        return Reading(banded_read(self.weights, values, self.band), count_mass(self), self.scores.detach().amax())


class ShortTermMemory(nn.Module):
    """Attention over the last `capacity` stored pairs, then the read-out.

    A = softmax(W_q x · W_k key / √d − softplus(a)·age) in each head of size d;  r = A·V  or  W_v · dropout(LN(A·V)).
    """

    def __init__(self, spec: ShortTermRing, hidden_size: int) -> None:
        super().__init__()
        self.spec = spec
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.recency = nn.Parameter(_spread_recency(spec.num_heads)) if spec.recency == "learned" else None
        projected = isinstance(spec.read_out, ProjectedReadOut)
        self.norm = nn.LayerNorm(hidden_size) if projected else None
        self.value = nn.Linear(hidden_size, hidden_size, bias=False) if projected else None
        self.dropout = spec.read_out.dropout if isinstance(spec.read_out, ProjectedReadOut) else 0.0

    def plan(self, x: Float[Tensor, "groups asked hidden"], rows: int, state: ShortTermState) -> ReadPlan:
        """Everything about reading that can be computed for all steps at once."""
        band = Band(self.spec.capacity, state.filled, x.shape[1] // rows, rows)
        stored = x if self.spec.stop_gradient == "none" else x.detach()
        flat_keys = band.flat(state.keys, stored)
        queries, keys = self.split_heads(self.query(x)), self.split_heads(self.key(flat_keys))
        decay = None if self.recency is None else F.softplus(self.recency)
        keep = None
        if self.training and self.dropout > 0:
            keep = torch.empty_like(x).bernoulli_(1 - self.dropout).div_(1 - self.dropout).detach()
        return ReadPlan(band, queries, keys, decay, flat_keys, keep)

    def read(
        self, plan: ReadPlan, flat_values: Float[Tensor, "groups length hidden"]
    ) -> tuple[Float[Tensor, "groups asked hidden"], Reading]:
        """The read-out of every step, once all stored values are known, and what reading left behind."""
        reading = plan.attended(self.split_heads(flat_values))
        retrieved = self.merge_heads(reading.retrieved)
        if self.spec.stop_gradient == "retrieval":
            retrieved = retrieved.detach()
        return self.read_out(retrieved, plan.keep), reading

    def split_heads(self, x: Float[Tensor, "groups slots hidden"]) -> Float[Tensor, "groups_heads slots head_dim"]:
        """[G, N, D] as [G · H, N, D / H]."""
        heads = self.spec.num_heads
        if heads == 1:
            return x
        split: Tensor = x.unflatten(-1, (heads, -1))
        return split.transpose(1, 2).flatten(0, 1)

    def merge_heads(self, x: Float[Tensor, "groups_heads slots head_dim"]) -> Float[Tensor, "groups slots hidden"]:
        """The inverse of `split_heads`."""
        heads = self.spec.num_heads
        if heads == 1:
            return x
        apart: Tensor = x.unflatten(0, (-1, heads))
        return apart.transpose(1, 2).flatten(2)

    def read_out(
        self, retrieved: Float[Tensor, "*batch hidden"], keep: Float[Tensor, "*batch hidden"] | None
    ) -> Float[Tensor, "*batch hidden"]:
        """W_v · dropout(LN(retrieved)), or `retrieved` itself for the raw kind."""
        if self.norm is None or self.value is None:
            return retrieved
        normed = self.norm(retrieved)
        projected: Tensor = self.value(normed if keep is None else normed * keep)
        return projected

    def advance(
        self,
        state: ShortTermState,
        plan: ReadPlan,
        flat_values: Float[Tensor, "groups length hidden"],
        reads: Float[Tensor, "groups_heads length"],
        initial_reads: float,
    ) -> ShortTermState:
        """The ring after this call: the last `capacity` of what was carried and what was written, detached."""
        band = plan.band
        end = band.capacity + band.steps * band.rows
        begin = max(end - band.capacity, band.capacity - band.carried)
        fresh = plan.flat_keys.new_full((plan.flat_keys.shape[0], band.steps * band.rows, 1), initial_reads)
        counted = reads.unflatten(0, (-1, self.spec.num_heads)).mean(dim=1)
        counts = band.flat(state.reads[..., None], fresh)[..., 0] + counted
        return ShortTermState(
            plan.flat_keys[:, begin:end].detach(), flat_values[:, begin:end].detach(), counts[:, begin:end].detach()
        )


def _spread_recency(num_heads: int) -> Float[Tensor, " heads"]:
    """The a of softplus(a) for decays spread from fast to slow."""
    place = torch.full((1,), 0.5) if num_heads == 1 else torch.linspace(0, 1, num_heads)
    decay = FASTEST_DECAY * (SLOWEST_DECAY / FASTEST_DECAY) ** place
    return decay.expm1().log()


def count_mass(plan: ReadPlan) -> Float[Tensor, "groups_heads length"]:
    """Attention mass that each slot received."""
    return plan.band.fold(plan.weights.detach().sum(dim=2))


def count_peaks(plan: ReadPlan) -> Float[Tensor, "groups_heads length"]:
    """How many queries gave each slot their largest weight. Queries that see nothing count nowhere."""
    weights = plan.weights.detach()
    largest, slot = weights.max(dim=-1, keepdim=True)
    peaks = torch.zeros_like(weights).scatter_(-1, slot, (largest > 0).to(weights.dtype))
    return plan.band.fold(peaks.sum(dim=2))
