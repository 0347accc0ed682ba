"""CortexGPT: embedding, columns and the memory block, in the order and with the joins of its spec."""

import math
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cortexzoo.specs.memory import Contexts
from cortexzoo.specs.variant import CortexGPTSpec, DecayedSinusoid, Residual
from cortexzoo.zoo.memory.block import GateReading, MemoryBlock
from cortexzoo.zoo.memory.contexts.diary import Diary
from cortexzoo.zoo.memory.contexts.memory import ContextMemory
from cortexzoo.zoo.memory.gate import SOURCES
from cortexzoo.zoo.memory.long_term import LongTermState, LongTermStore
from cortexzoo.zoo.memory.short_term import ShortTermState
from cortexzoo.zoo.models.columns import Columns
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState, ModelOutput


@dataclass(frozen=True)
class CortexGPTState(MemoryState):
    """Short-term ring, long-term store, and the number of tokens seen since the document's start."""

    short_term: ShortTermState
    long_term: LongTermState | Diary | None
    position: int = 0

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by `memory.field`; the position as a scalar tensor."""
        parts = {"short_term": _fields(self.short_term)}
        match self.long_term:
            case LongTermState() as store:
                parts["long_term"] = _fields(store)
            case Diary() as diary:
                parts["diary"] = diary.tensors()
        named = {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}
        return {**named, "position": torch.tensor(self.position)}

    def detached(self) -> "CortexGPTState":
        """The same contents without their history. A diary has none, and keeps its index."""
        if not isinstance(self.long_term, Diary):
            return super().detached()
        detached = {name: tensor.detach() for name, tensor in _fields(self.short_term).items()}
        return replace(self, short_term=ShortTermState(**detached))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "CortexGPTState":
        """The inverse of `tensors`. Raises `ValueError` naming what is missing."""
        wanted = {"position", *(f"short_term.{field}" for field in ShortTermState.__dataclass_fields__)}
        if any(name.startswith("long_term.") for name in tensors):
            wanted |= {f"long_term.{field}" for field in LongTermState.__dataclass_fields__}
        if any(name.startswith("diary.") for name in tensors):
            wanted |= {f"diary.{name}" for name in DIARY_TENSORS}
        if missing := sorted(wanted - set(tensors)):
            raise ValueError(f"memory state lacks {', '.join(missing)}")
        short_term = ShortTermState(**{f: tensors[f"short_term.{f}"] for f in ShortTermState.__dataclass_fields__})
        long_term: LongTermState | Diary | None = None
        if "diary.tokens" in tensors:
            long_term = Diary.from_tensors({name: tensors[f"diary.{name}"] for name in DIARY_TENSORS})
        if "long_term.codes" in tensors:
            long_term = LongTermState(**{f: tensors[f"long_term.{f}"] for f in LongTermState.__dataclass_fields__})
        return cls(short_term, long_term, int(tensors["position"]))

    def sizes(self) -> dict[str, int]:
        """Entries: `stm` for one ring, `ltm` for the store."""
        return {"stm": self.short_term.filled, "ltm": 0 if self.long_term is None else _entries(self.long_term)}


class CortexGPT(MemoryLanguageModel[CortexGPTState]):
    """Columns and a gated memory between embedding and vocabulary."""

    def __init__(self, spec: CortexGPTSpec) -> None:
        super().__init__()
        self.spec = spec
        self.switches = tuple(s for s in SOURCES[1:] if getattr(spec.memory, s).kind != "none")
        self.vocab_size = spec.vocab_size
        width = spec.hidden_size
        self.embedding = nn.Embedding(spec.vocab_size, width)
        nn.init.normal_(self.embedding.weight, std=spec.embedding_std)
        self.memory = MemoryBlock(spec.memory, width)
        contexts = spec.memory.long_term
        self.contexts = ContextMemory(contexts, width, spec.vocab_size) if isinstance(contexts, Contexts) else None
        self.columns = Columns(spec.columns, width)
        residual = isinstance(spec.join, Residual)
        self.memory_norm = nn.LayerNorm(width) if residual else nn.Identity()
        self.columns_norm = nn.LayerNorm(width) if residual else nn.Identity()
        self.final_norm = nn.LayerNorm(width) if residual else nn.Identity()
        self.vocabulary = nn.Linear(width, spec.vocab_size)

    def initial_state(self, batch_size: int) -> CortexGPTState:
        """Empty rings for `batch_size` rows (one ring when it is shared) and an empty store."""
        like = self.vocabulary.weight
        groups = 1 if self.memory.shares_one_ring else batch_size
        store = self.memory.long_term
        long_term: LongTermState | Diary | None = None if store is None else store.empty(like)
        if self.contexts is not None:
            long_term = self.contexts.empty(batch_size, like)
        return CortexGPTState(ShortTermState.empty(groups, self.spec.hidden_size, like), long_term)

    def fixed_weights(self) -> AbstractContextManager[object]:
        """The columns fold their weights once."""
        return self.columns.fixed()

    def between_batches(self, state: CortexGPTState, batch_size: int) -> CortexGPTState:
        """Long-term memory stays; short-term memory starts empty unless the spec carries it over.

        In training a diary takes down what was read; what an evaluation read is dropped unless its documents ended.
        """
        fresh = self.initial_state(batch_size)
        ring = self.memory.short_term
        carried = ring is not None and ring.spec.carry_over
        fits = state.short_term.keys.shape[0] == fresh.short_term.keys.shape[0]
        long_term = state.long_term
        if self.contexts is not None and isinstance(long_term, Diary):
            ended = long_term.closed(self.contexts.spec) if self.training else long_term
            long_term = ended.begun(batch_size)
        return CortexGPTState(state.short_term if carried and fits else fresh.short_term, long_term)

    def documents_ended(self, state: CortexGPTState) -> CortexGPTState:
        """A diary takes down what was read."""
        if self.contexts is None or not isinstance(state.long_term, Diary):
            return state
        return replace(state, long_term=state.long_term.closed(self.contexts.spec))

    def placed(self, state: CortexGPTState, places: Int[Tensor, " batch"]) -> CortexGPTState:
        """A diary notes where each row stands, so that no place of training finds itself."""
        if not isinstance(state.long_term, Diary):
            return state
        return replace(state, long_term=state.long_term.placed(places))

    def forward(
        self, tokens: Int[Tensor, "batch time"], state: CortexGPTState | None = None, disabled: Collection[str] = ()
    ) -> ModelOutput[CortexGPTState]:
        """Logits [B, T, V] and the memory after the last token."""
        self.check_switches(disabled)
        state = self.initial_state(tokens.shape[0]) if state is None else state
        self._check_groups(tokens, state)
        x = self.embedding(tokens)
        if not tokens.shape[1]:
            return ModelOutput(self.vocabulary(x), state)
        if isinstance(self.spec.position, DecayedSinusoid):
            x = x + decayed_sinusoid(state.position, tokens.shape[1], x, self.spec.position.decay)
        if self.spec.order == "columns_first":
            x = self._through_columns(x)
        x, short_term, gate = self._through_memory(x, state, disabled)
        if self.spec.order == "memory_first":
            x = self._through_columns(x)
        hidden = self.final_norm(x)
        logits = self.vocabulary(hidden)
        after = replace(state, short_term=short_term, position=state.position + tokens.shape[1])
        diary = state.long_term
        if self.contexts is None or not isinstance(diary, Diary) or "long_term" in disabled:
            return ModelOutput(logits, after, gate.readings())
        spec = self.contexts.spec
        after = replace(after, long_term=diary.read(tokens, spec))
        if not len(diary.pages.entries):
            return ModelOutput(logits, after, gate.readings())
        mixed, share = self.contexts.mixed(logits, hidden, tokens, diary)
        return ModelOutput(mixed, after, gate.readings(share), logits, spec.own_weight)

    def consolidate(self, state: CortexGPTState) -> CortexGPTState:
        """Move short-term contents into the long-term store, as the kind of the store defines."""
        store, long_term = self.memory.long_term, state.long_term
        if self.contexts is not None and isinstance(long_term, Diary):
            return replace(state, long_term=long_term.consolidated(self.contexts.spec))
        if store is None or not isinstance(long_term, LongTermState):
            return state
        return replace(state, long_term=store.consolidate(state.short_term, long_term))

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """`short_term`, `long_term`, `consolidator` (the original's consolidation network), and `base`."""
        store = self.memory.long_term
        consolidator = store.consolidation_network if isinstance(store, LongTermStore) else None
        groups = {
            "short_term": [] if self.memory.short_term is None else list(self.memory.short_term.parameters()),
            "consolidator": [] if consolidator is None else list(consolidator.parameters()),
        }
        taken = {id(parameter) for group in groups.values() for parameter in group}
        stores = [part for part in (store, self.contexts) if part is not None]
        groups["long_term"] = [p for part in stores for p in part.parameters() if id(p) not in taken]
        taken |= {id(parameter) for parameter in groups["long_term"]}
        return {"base": [p for p in self.parameters() if id(p) not in taken], **groups}

    def _through_columns(self, x: Float[Tensor, "batch time hidden"]) -> Float[Tensor, "batch time hidden"]:
        out: Tensor = self.columns(self.columns_norm(x))
        return x + out if isinstance(self.spec.join, Residual) else out

    def _through_memory(
        self, x: Float[Tensor, "batch time hidden"], state: CortexGPTState, disabled: Collection[str]
    ) -> tuple[Float[Tensor, "batch time hidden"], ShortTermState, GateReading]:
        store = state.long_term if isinstance(state.long_term, LongTermState) else None
        out, short_term, gate = self.memory(self.memory_norm(x), state.short_term, store, disabled)
        if isinstance(self.spec.join, Residual):
            out = x + self.spec.join.memory_weight * out
        return out, short_term, gate

    def _check_groups(self, tokens: Tensor, state: CortexGPTState) -> None:
        groups = state.short_term.keys.shape[0]
        if not self.memory.shares_one_ring and groups != tokens.shape[0]:
            raise ValueError(
                f"the memory state belongs to a batch of {groups}, but this batch has {tokens.shape[0]} rows: "
                "start from initial_state(batch_size) or keep the batch size"
            )


DIARY_TENSORS = tuple(Diary.empty(1, torch.device("cpu")).tensors())


def _fields(memory: ShortTermState | LongTermState) -> dict[str, Tensor]:
    return {name: getattr(memory, name) for name in memory.__dataclass_fields__}


def _entries(long_term: LongTermState | Diary) -> int:
    return long_term.pages.filled if isinstance(long_term, Diary) else long_term.entries


def decayed_sinusoid(start: int, length: int, like: Tensor, decay: float) -> Float[Tensor, "time hidden"]:
    """sin/cos positions times exp(−decay · t), for t = start … start + length − 1."""
    width = like.shape[-1]
    t = torch.arange(start, start + length, device=like.device, dtype=like.dtype)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, device=like.device, dtype=like.dtype) * (-math.log(10_000.0) / width))
    waves = torch.stack([(t * rate).sin(), (t * rate).cos()], dim=-1).flatten(1)
    return waves * torch.exp(-decay * t)
