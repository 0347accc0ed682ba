"""Long-term memory: a store of consolidated pairs, searched once a forward call for all tokens."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cortexzoo.specs.memory import CompressedStore, RawRing
from cortexzoo.zoo.memory.faiss_index import FlatIndex
from cortexzoo.zoo.memory.short_term import ShortTermState

DISTANCE_FLOOR = 1e-6


@dataclass(frozen=True)
class LongTermState:
    """The store's contents, oldest first. `codes` are what the index was built from at the last consolidation.

    For `raw_ring` keys and values are the raw pairs; for `compressed_store` keys have width 0 and `values` are codes.
    """

    keys: Float[Tensor, "entries key"]
    values: Float[Tensor, "entries value"]
    codes: Float[Tensor, "entries code"]

    @property
    def entries(self) -> int:
        return self.codes.shape[0]

    @cached_property
    def index(self) -> FlatIndex:
        return FlatIndex(self.codes)

    def append(
        self,
        keys: Float[Tensor, "added key"],
        values: Float[Tensor, "added value"],
        codes: Float[Tensor, "added code"],
        capacity: int | None,
    ) -> "LongTermState":
        """A new store with entries added at the end; beyond `capacity` the oldest are dropped."""
        start = 0 if capacity is None else max(0, self.entries + codes.shape[0] - capacity)
        return LongTermState(
            torch.cat([self.keys, keys])[start:],
            torch.cat([self.values, values])[start:],
            torch.cat([self.codes, codes])[start:],
        )


class LongTermRing(nn.Module):
    """Bounded ring of raw pairs. FAISS names the nearest entries, torch weighs them again, so that the coders learn.

    c = compress(·);  w = softmax over the found entries of −‖c(x) − c(key)‖²·e^s;  l = decompress(Σ w · c(value)).
    """

    def __init__(self, spec: RawRing, hidden_size: int) -> None:
        super().__init__()
        self.spec = spec
        self.hidden_size = hidden_size
        self.compress = nn.Sequential(
            nn.Linear(hidden_size, hidden_size // 2), nn.ReLU(), nn.Linear(hidden_size // 2, spec.code_size)
        )
        self.decompress = nn.Sequential(
            nn.Linear(spec.code_size, hidden_size // 2), nn.ReLU(), nn.Linear(hidden_size // 2, hidden_size)
        )
        self.log_sharpness = nn.Parameter(torch.zeros(()))

    def empty(self, like: Tensor) -> LongTermState:
        """An empty store."""
        raw = like.new_zeros(0, self.hidden_size)
        return LongTermState(raw, raw, like.new_zeros(0, self.spec.code_size))

    def read(self, x: Float[Tensor, "asked hidden"], state: LongTermState) -> Float[Tensor, "asked hidden"]:
        """The read-out for every query. The store must not be empty."""
        query_codes = self.compress(x)
        ids = state.index.search(query_codes, self.spec.top_k)
        key_codes = self._encode(state.keys.to(x.dtype), ids)
        value_codes = self._encode(state.values.to(x.dtype), ids)
        distance = (query_codes[:, None] - key_codes).square().sum(dim=-1)
        weights = torch.softmax(-distance * self.log_sharpness.exp(), dim=-1)
        read_out: Tensor = self.decompress((weights[..., None] * value_codes).sum(dim=1))
        return read_out

    def _encode(
        self, contents: Float[Tensor, "entries hidden"], ids: Int[Tensor, "asked found"]
    ) -> Float[Tensor, "asked found code"]:
        """Codes of the found entries, from encoding the whole store or each finding, whichever is fewer rows.

        Not each distinct finding once: how many there are depends on all queries, and the shape of a product decides
        how it is rounded, so a row's result would depend on the other rows.
        """
        if contents.shape[0] <= ids.numel():
            encoded: Tensor = self.compress(contents)[ids]
        else:
            encoded = self.compress(contents[ids])
        return encoded

    @torch.no_grad()
    def consolidate(self, short_term: ShortTermState, state: LongTermState) -> LongTermState:
        """Append the pairs that were read most, by attention mass, and encode everything anew."""
        reads = short_term.reads.flatten()
        most_read = reads.topk(min(self.spec.writes, reads.numel())).indices.sort().values
        keys = short_term.keys.flatten(0, 1)[most_read]
        values = short_term.values.flatten(0, 1)[most_read]
        grown = state.append(keys, values, state.codes.new_zeros(len(keys), self.spec.code_size), self.spec.capacity)
        return replace(grown, codes=self.compress(grown.keys).to(state.codes.dtype))


class LongTermStore(nn.Module):
    """The original's store: compressed keys, consolidated values, inverse-distance weights without gradient.

    w_i = 1/(‖compress(x) − code_i‖² + 1e-6), normalised;  l = decompress(Σ w_i · content_i),
    where content = consolidation_network([key; value]) was computed when the pair was stored.
    """

    def __init__(self, spec: CompressedStore, hidden_size: int) -> None:
        super().__init__()
        self.spec = spec
        half, quarter, code = hidden_size // 2, hidden_size // 4, spec.code_size
        self.compress = nn.Sequential(
            nn.Linear(hidden_size, half), nn.ReLU(), nn.Linear(half, quarter), nn.ReLU(), nn.Linear(quarter, code)
        )
        self.decompress = nn.Sequential(
            nn.Linear(code, quarter), nn.ReLU(), nn.Linear(quarter, half), nn.ReLU(), nn.Linear(half, hidden_size)
        )
        self.consolidation_network = nn.Sequential(nn.Linear(2 * hidden_size, code), nn.ReLU(), nn.Linear(code, code))

    def empty(self, like: Tensor) -> LongTermState:
        """An empty store."""
        codes = like.new_zeros(0, self.spec.code_size)
        return LongTermState(like.new_zeros(0, 0), codes, codes)

    def read(self, x: Float[Tensor, "asked hidden"], state: LongTermState) -> Float[Tensor, "asked hidden"]:
        """The read-out for every query. The store must not be empty."""
        with torch.no_grad():
            query_codes = self.compress(x)
            ids = state.index.search(query_codes, self.spec.top_k)
            distance = (query_codes[:, None] - state.codes[ids].to(x.dtype)).square().sum(dim=-1)
            weights = 1 / (distance + DISTANCE_FLOOR)
            weights = weights / weights.sum(dim=-1, keepdim=True)
            value = (weights[..., None] * state.values[ids].to(x.dtype)).sum(dim=1)
        read_out: Tensor = self.decompress(value)
        return read_out

    @torch.no_grad()
    def consolidate(self, short_term: ShortTermState, state: LongTermState) -> LongTermState:
        """Copy every pair that was read often enough; what is already there stays and may be copied again."""
        often = short_term.reads.flatten() >= self.spec.min_reads
        keys = short_term.keys.flatten(0, 1)[often]
        values = short_term.values.flatten(0, 1)[often]
        codes = self.compress(keys).to(state.codes.dtype)
        contents = self.consolidation_network(torch.cat([keys, values], dim=-1)).to(state.values.dtype)
        return state.append(keys.new_zeros(len(keys), 0), contents, codes, self.spec.capacity)
