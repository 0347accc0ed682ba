"""The naive twin of `cortexgpt`: one token at a time, Python lists for memories, no precomputed anything.

The oracle that the fast form is tested against, in logits, gradients and memory. It shares the parameters of a built
model and nothing else. In training mode its dropout is that of the fast form where torch's generator begins alike.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from cortexzoo.specs.memory import SigmoidGate
from cortexzoo.specs.variant import CortexGPTSpec, DecayedSinusoid, HardTopK, Residual, SoftThreshold
from cortexzoo.zoo.memory.block import MemoryBlock
from cortexzoo.zoo.memory.contexts.diary import Diary
from cortexzoo.zoo.memory.contexts.memory import ContextMemory
from cortexzoo.zoo.memory.contexts.naive import DiaryLoop, mixed_by_votes
from cortexzoo.zoo.memory.gate import SOURCES
from cortexzoo.zoo.memory.long_term import LongTermRing, LongTermState, LongTermStore
from cortexzoo.zoo.memory.short_term import ShortTermState
from cortexzoo.zoo.models.columns import Columns
from cortexzoo.zoo.models.cortexgpt import CortexGPT, CortexGPTState, decayed_sinusoid


@dataclass
class Slot:
    """One stored pair, the step at which it was written (negative: before this call), and how often it was read."""

    key: Tensor
    value: Tensor
    step: int
    reads: float


@dataclass(frozen=True)
class Looped:
    """What the token loop gives."""

    logits: Float[Tensor, "batch time vocab"]
    rings: list[list[Slot]]
    """The short-term rings after the last token."""
    readings: dict[str, float]
    """As the model's in evaluation."""


def token_loop(model: CortexGPT, tokens: Int[Tensor, "batch time"], state: CortexGPTState | None = None) -> Looped:
    """A forward call, computed the slow way.

    Raises `ValueError` for a model without short-term memory, which has no loop.
    """
    spec = model.spec
    state = model.initial_state(tokens.shape[0]) if state is None else state
    x = model.embedding(tokens)
    if isinstance(spec.position, DecayedSinusoid):
        x = x + decayed_sinusoid(state.position, tokens.shape[1], x, spec.position.decay)
    if spec.order == "columns_first":
        x = _joined(spec, x, columns_by_concatenation(model.columns, model.columns_norm(x)), 1.0)
    memory = MemoryLoop(model.memory, state, tokens.shape[0])
    read_in = model.memory_norm(x)
    memory.drop_some_of(read_in)
    outputs = torch.stack([memory.step(read_in[:, t], t) for t in range(tokens.shape[1])], dim=1)
    x = _joined(spec, x, outputs, spec.join.memory_weight if isinstance(spec.join, Residual) else 1.0)
    if spec.order == "memory_first":
        x = _joined(spec, x, columns_by_concatenation(model.columns, model.columns_norm(x)), 1.0)
    hidden = model.final_norm(x)
    logits: Tensor = model.vocabulary(hidden)
    mixed_in = None
    if model.contexts is not None and isinstance(state.long_term, Diary):
        logits, mixed_in = _mixed(model.contexts, logits, hidden, tokens, state.long_term)
    rings = [ring[-memory.spec.capacity :] for ring in memory.rings]
    return Looped(logits, rings, _readings(memory, mixed_in))


def _readings(memory: "MemoryLoop", mixed_in: Tensor | None) -> dict[str, float]:
    """Each source's mean share of the queries that have it, how even these means are, and the largest score."""
    by_source: dict[str, list[float]] = {}
    for t, step in enumerate(memory.shares):
        for row, shares in enumerate(step):
            mixed = 0.0 if mixed_in is None else float(mixed_in[row, t])
            for source, share in shares.items():
                by_source.setdefault(source, []).append(share * (1 - mixed))
    means = {source: sum(shares) / len(shares) for source, shares in by_source.items()}
    if mixed_in is not None:
        means["long_term"] = float(mixed_in.mean())
    readings = {f"memory/gate_share/{source}": mean for source, mean in means.items()}
    if len(means) > 1:
        parts = [mean / sum(means.values()) for mean in means.values()]
        readings["memory/gate_entropy"] = -sum(part * math.log(part) for part in parts if part) / math.log(len(parts))
    if memory.largest > -math.inf:
        readings["stability/max_attention_logit"] = memory.largest
    return readings


def _mixed(
    memory: ContextMemory, logits: Tensor, hidden: Tensor, tokens: Tensor, diary: Diary
) -> tuple[Tensor, Tensor | None]:
    """With what followed like contexts, and its share; the diary's pages as entries, its open documents as read before.

    No share: there is no entry.
    """
    loop = DiaryLoop.of_pages(memory.spec, diary.pages.tokens.tolist(), diary.pages.sources.tolist())
    entries = loop.entries()
    if not entries:
        return logits, None
    rows, shares = [], []
    for row, line in enumerate(tokens.tolist()):
        read = [*diary.open[row].tolist(), *line]
        before, begin = len(read) - len(line), int(diary.begins[row])
        places = [
            mixed_by_votes(
                memory,
                logits[row, place - before],
                hidden[row, place - before],
                tuple(read[place::-1][: memory.spec.context]),
                None if begin < 0 else begin + place,
                entries,
            )
            for place in range(before, len(read))
        ]
        rows.append(torch.stack([mixed for mixed, _ in places]))
        shares.append(torch.stack([share.detach() for _, share in places]))
    return torch.stack(rows), torch.stack(shares)


def columns_by_concatenation(columns: Columns, x: Float[Tensor, "batch time hidden"]) -> Tensor:
    """Every column on every position, masked, concatenated, then mixed by one linear map."""
    rows = x.flatten(0, 1)
    n, d, _ = columns.hidden_weight.shape
    scores = columns.score(rows)
    outputs = []
    for i in range(n):
        match columns.spec.sparsity:
            case HardTopK(fraction=fraction):
                mask = torch.zeros(len(rows), dtype=rows.dtype)
                mask[scores[:, i].topk(max(1, int(len(rows) * fraction))).indices] = 1
            case SoftThreshold() as soft:
                mask = torch.sigmoid(soft.sharpness * (torch.sigmoid(scores[:, i] / soft.temperature) - soft.threshold))
        hidden = torch.relu(rows @ columns.hidden_weight[i] + columns.hidden_bias[i])
        outputs.append(mask[:, None] * (hidden @ columns.output_weight[i] + columns.output_bias[i]))
    mixed = torch.cat(outputs, dim=1) @ columns.mix_weight.reshape(n * d, d) + columns.mix_bias
    return mixed.view_as(x)


class MemoryLoop:
    """The memory block, one token at a time: lists of slots for rings, all distances sorted for the store."""

    def __init__(self, block: MemoryBlock, state: CortexGPTState, batch: int) -> None:
        if block.short_term is None:
            raise ValueError("the token loop needs a short-term ring, and this variant has none")
        self.ring = block.short_term
        self.spec = block.short_term.spec
        self.store = block.long_term
        self.gate = block.gate
        store = state.long_term if isinstance(state.long_term, LongTermState) else None
        self.contents = store if store is not None and store.entries else None
        self.shared = block.shares_one_ring
        rows = batch if self.shared else 1
        groups = range(state.short_term.keys.shape[0])
        self.rings = [_carried_slots(state.short_term, group, rows) for group in groups]
        self.shares: list[list[dict[str, float]]] = []
        """Of each step and row, by the sources that there are."""
        self.largest = -math.inf
        """Of all scores so far."""
        self.kept: Tensor | None = None
        """[rows, steps, hidden]: what dropout leaves of each read-out; None: all."""

    def drop_some_of(self, x: Float[Tensor, "batch time hidden"]) -> None:
        """Draw what dropout leaves of the read-outs for x; a shared ring's are in the order of its steps."""
        share = 1 - self.ring.dropout
        if not self.ring.training or share == 1:
            return
        batch, time, width = x.shape
        shape = (time, batch, width) if self.shared else (batch, time, width)
        drawn = torch.bernoulli(x.detach().new_full(shape, share)) / share
        self.kept = drawn.transpose(0, 1) if self.shared else drawn

    def step(self, current: Float[Tensor, "batch hidden"], t: int) -> Float[Tensor, "batch hidden"]:
        """Read for every row, mix, then store for every row."""
        rings = [self.rings[0 if self.shared else row] for row in range(len(current))]
        self.shares.append([])
        outputs = [self._mixed(x, rings[row][-self.spec.capacity :], row, t) for row, x in enumerate(current)]
        first_reads = 1.0 if isinstance(self.store, LongTermStore) else 0.0
        for x, output, ring in zip(current, outputs, rings, strict=True):
            value = output if self.spec.stores == "output" else x
            if self.spec.stop_gradient != "none":
                x, value = x.detach(), value.detach()
            ring.append(Slot(x, value, t, first_reads))
        return torch.stack(outputs)

    def _mixed(self, x: Float[Tensor, "hidden"], visible: list[Slot], row: int, t: int) -> Tensor:
        kept = None if self.kept is None else self.kept[row, t]
        short = self.ring.read_out(self._read_ring(x, visible, t), kept)
        sources, live = [x, short], [True, bool(visible)]
        if self.store is not None:
            contents = self.contents
            live.append(contents is not None)
            sources.append(
                torch.zeros_like(x) if contents is None else long_term_by_brute_force(self.store, x, contents)
            )
        shares = self._shares(self.gate.linear(torch.cat(sources)), torch.tensor(live))
        named = zip(SOURCES, shares.tolist(), live, strict=False)
        self.shares[-1].append({source: share for source, share, is_live in named if is_live})
        return torch.stack([share * source for share, source in zip(shares, sources, strict=True)]).sum(dim=0)

    def _read_ring(self, x: Float[Tensor, "hidden"], visible: list[Slot], t: int) -> Tensor:
        if not visible:
            return torch.zeros_like(x)
        heads = self.spec.num_heads
        keys = self.ring.key(torch.stack([slot.key for slot in visible])).chunk(heads, dim=1)
        values = torch.stack([slot.value for slot in visible]).chunk(heads, dim=1)
        ages = torch.tensor([t - slot.step for slot in visible], dtype=x.dtype)
        retrieved_by_head = []
        for head, query in enumerate(self.ring.query(x).chunk(heads)):
            scores = keys[head] @ query / len(query) ** 0.5
            if self.ring.recency is not None:
                scores = scores - F.softplus(self.ring.recency[head]) * ages
            self.largest = max(self.largest, float(scores.detach().max()))
            weights = torch.softmax(scores, dim=0)
            retrieved_by_head.append(weights @ values[head])
            if isinstance(self.store, LongTermStore):
                visible[int(weights.argmax())].reads += 1 / heads
            else:
                for slot, weight in zip(visible, weights.tolist(), strict=True):
                    slot.reads += weight / heads
        retrieved = torch.cat(retrieved_by_head)
        return retrieved.detach() if self.spec.stop_gradient == "retrieval" else retrieved

    def _shares(self, logits: Tensor, live: Tensor) -> Tensor:
        if not isinstance(self.gate.spec, SigmoidGate):
            return torch.softmax(logits, dim=0)
        opened = torch.where(live, torch.sigmoid(logits / self.gate.spec.temperature), torch.zeros_like(logits))
        floor = self.gate.spec.floor
        shares = floor + (1 - floor * int(live.sum())) * opened / opened.sum()
        return torch.where(live, shares, torch.zeros_like(shares))


def long_term_by_brute_force(
    store: LongTermRing | LongTermStore, query: Float[Tensor, "hidden"], state: LongTermState
) -> Tensor:
    """The read-out for one query, by sorting all distances to the indexed codes."""
    code = store.compress(query)
    # As FAISS compares them: in float32, of equals the oldest.
    distances = (code.detach().float() - state.codes.float()).square().sum(dim=1)
    nearest = distances.argsort(stable=True)[: store.spec.top_k]
    if isinstance(store, LongTermStore):
        inverse = 1 / ((code.detach() - state.codes[nearest]).square().sum(dim=1) + 1e-6)
        weighted = (inverse / inverse.sum()) @ state.values[nearest]
    else:
        distance = (code - store.compress(state.keys[nearest])).square().sum(dim=1)
        weights = torch.softmax(-distance * store.log_sharpness.exp(), dim=0)
        weighted = weights @ store.compress(state.values[nearest])
    read_out: Tensor = store.decompress(weighted)
    return read_out


def _joined(spec: CortexGPTSpec, x: Tensor, out: Tensor, weight: float) -> Tensor:
    return x + weight * out if isinstance(spec.join, Residual) else out


def _carried_slots(ring: ShortTermState, group: int, rows: int) -> list[Slot]:
    pairs = zip(ring.keys[group], ring.values[group], ring.reads[group].tolist(), strict=True)
    return [Slot(key, value, (index - ring.filled) // rows, reads) for index, (key, value, reads) in enumerate(pairs)]
