"""The memory block: read short-term and long-term memory, mix them with the current vector, store the result.

    r_t = short-term read-out;  l_t = long-term read-out;  g_t = shares(W [x_t, r_t, l_t])
    o_t = g₀ x_t + g₁ r_t + g₂ l_t;   store (key x_t, value o_t)

Each stored value depends on the ones before it, so a token loop is the plain way. But what is stored takes no gradient:
one light scan without gradient gives the stored values, with everything else computed for all steps beforehand, and one
parallel pass with gradient then equals the token loop, logits and gradients. Only `stop_gradient: none` needs the loop.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cortexzoo.specs.memory import CompressedStore, MemorySpec, RawRing, ShortTermRing
from cortexzoo.specs.metrics import GATE_SHARE
from cortexzoo.zoo.memory.band_attention import Reading
from cortexzoo.zoo.memory.gate import SOURCES, MemoryGate
from cortexzoo.zoo.memory.long_term import LongTermRing, LongTermState, LongTermStore
from cortexzoo.zoo.memory.scan import Scan, mix
from cortexzoo.zoo.memory.short_term import ReadPlan, ShortTermMemory, ShortTermState, count_peaks

Vectors = Float[Tensor, "groups asked hidden"]


class MemoryBlock(nn.Module):
    """Short-term memory, long-term memory and the gate over them."""

    def __init__(self, spec: MemorySpec, hidden_size: int) -> None:
        super().__init__()
        self.spec = spec
        ring = spec.short_term
        self.short_term = ShortTermMemory(ring, hidden_size) if isinstance(ring, ShortTermRing) else None
        self.long_term: LongTermRing | LongTermStore | None
        match spec.long_term:
            case RawRing() as raw:
                self.long_term = LongTermRing(raw, hidden_size)
            case CompressedStore() as compressed:
                self.long_term = LongTermStore(compressed, hidden_size)
            case _:
                self.long_term = None
        self.gate = MemoryGate(spec.gate, hidden_size, len(SOURCES) if self.long_term is not None else 2)

    @property
    def shares_one_ring(self) -> bool:
        return self.short_term is not None and self.short_term.spec.scope == "shared"

    def forward(
        self,
        x: Float[Tensor, "batch time hidden"],
        short_term: ShortTermState,
        long_term: LongTermState | None,
        disabled: Collection[str] = (),
    ) -> tuple[Float[Tensor, "batch time hidden"], ShortTermState, "GateReading"]:
        """Mixed output, the short-term memory after it, and what the gate did.

        Sources named in `disabled` (`short_term`, `long_term`) are switched off: neither read nor written.
        """
        grouped, rows = self._group(x)
        from_long = None if "long_term" in disabled else self._read_long_term(grouped, long_term)
        live = torch.ones(grouped.shape[1], self.gate.sources, dtype=torch.bool, device=x.device)
        live[:, 2:] = from_long is not None
        partial = self.gate.partial_logits(grouped, from_long)
        largest = None
        if self.short_term is None or "short_term" in disabled:
            live[:, 1] = False
            shares = self.gate.shares(partial, live)
            mixed, state = mix(shares, grouped, None, from_long), short_term
        else:
            live[:rows, 1] = short_term.filled > 0  # the very first step finds the ring empty
            scan = Scan(self.short_term, self.gate, grouped, from_long, partial, live)
            plan = self.short_term.plan(grouped, rows, short_term)
            mixed, shares, state, reading = self._through_ring(self.short_term, scan, plan, short_term)
            # Training is spared the reading of it.
            largest = reading.largest if plan.band.sees_something and not self.training else None
        return self._ungroup(mixed, x.shape), state, GateReading(shares.detach(), live, largest, self._group)

    def _through_ring(
        self, ring: ShortTermMemory, scan: Scan, plan: ReadPlan, state: ShortTermState
    ) -> tuple[Vectors, Float[Tensor, "groups asked sources"], ShortTermState, Reading]:
        gradient_through_contents = ring.spec.stop_gradient == "none"
        if ring.spec.stores == "input":
            flat_values = plan.band.flat(state.values, scan.x if gradient_through_contents else scan.x.detach())
        else:
            with torch.set_grad_enabled(gradient_through_contents and torch.is_grad_enabled()):
                flat_values = scan.stored_values(plan, state)
        read, reading = ring.read(plan, flat_values)
        shares = self.gate.shares(scan.partial + self.gate.short_term_logits(read), scan.live)
        counts_peaks = isinstance(self.long_term, LongTermStore)
        counted = count_peaks(plan) if counts_peaks else reading.mass
        after = ring.advance(state, plan, flat_values, counted, 1.0 if counts_peaks else 0.0)
        return mix(shares, scan.x, read, scan.from_long), shares, after, reading

    def _group(self, x: Float[Tensor, "batch time hidden"]) -> tuple[Vectors, int]:
        """[B, T, D] as [B, T, D] with one row, or for a shared ring as [1, T·B, D] with B rows a step."""
        if not self.shares_one_ring:
            return x, 1
        return x.transpose(0, 1).reshape(1, -1, x.shape[-1]), x.shape[0]

    def _ungroup(self, x: Vectors, shape: torch.Size) -> Float[Tensor, "batch time hidden"]:
        if not self.shares_one_ring:
            return x
        return x.reshape(shape[1], shape[0], shape[2]).transpose(0, 1)

    def _read_long_term(self, x: Vectors, state: LongTermState | None) -> Vectors | None:
        if self.long_term is None or state is None or not state.entries:
            return None
        return self.long_term.read(x.flatten(0, 1), state).view_as(x)


@dataclass(frozen=True)
class GateReading:
    """What the gate of one forward call did."""

    shares: Float[Tensor, "groups asked sources"]
    live: Bool[Tensor, "asked sources"]
    largest_score: Float[Tensor, ""] | None
    group: Callable[[Float[Tensor, "batch time hidden"]], tuple[Vectors, int]]

    def readings(self, mixed_in: Float[Tensor, "batch time"] | None = None) -> dict[str, Tensor]:
        """Mean share of each source over the queries at which it is live, and the normalised entropy of these means.

        `mixed_in` is the share of a long-term memory that enters the prediction itself: the gate divides the rest.
        """
        shares = self.shares.float()
        readings = {}
        if mixed_in is not None:
            long_term, _ = self.group(mixed_in[..., None].float())
            shares = shares * (1 - long_term)
        for i, source in enumerate(SOURCES[: shares.shape[-1]]):
            if bool(self.live[-1, i]):
                readings[f"{GATE_SHARE}{source}"] = shares[:, self.live[:, i], i].mean()
        if mixed_in is not None:
            readings[f"{GATE_SHARE}{SOURCES[2]}"] = mixed_in.float().mean()
        means = torch.stack(list(readings.values()))
        if len(means) > 1:
            means = means / means.sum()
            readings["memory/gate_entropy"] = -(means * means.clamp_min(1e-12).log()).sum() / torch.log(
                torch.tensor(float(len(means)))
            )
        if self.largest_score is not None:
            readings["stability/max_attention_logit"] = self.largest_score.float()
        return readings
