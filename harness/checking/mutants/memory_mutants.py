"""Defects of the memories: carried wrongly, read wrongly, unbounded, evicted or saved wrongly, or of no use."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cortexzoo.harness.checking.mutants.base import (
    Host,
    Make,
    Mutant,
    after,
    in_source,
    instead,
    rebound,
    replaced,
    together,
)
from cortexzoo.specs.memory import Contexts
from cortexzoo.zoo.memory.band import banded_weights
from cortexzoo.zoo.memory.band_attention import fuses
from cortexzoo.zoo.memory.block import MemoryBlock
from cortexzoo.zoo.memory.contexts.diary import Diary, Pages
from cortexzoo.zoo.memory.contexts.memory import ContextMemory
from cortexzoo.zoo.memory.contexts.mixture import Mixture
from cortexzoo.zoo.memory.contexts.read_out import ContextReadOut
from cortexzoo.zoo.memory.faiss_index import FlatIndex, ListedIndex
from cortexzoo.zoo.memory.gate import MemoryGate
from cortexzoo.zoo.memory.long_term import LongTermRing, LongTermState
from cortexzoo.zoo.memory.short_term import ReadPlan, ShortTermMemory, ShortTermState
from cortexzoo.zoo.models.cortexgpt import CortexGPT, CortexGPTState

CORTEX: Host = "cortexgpt"
CONTEXTS: Host = "contexts"


def _dropout_always(original: Any) -> Any:
    def defective(self: ShortTermMemory, *arguments: Any) -> ReadPlan:
        was, self.training = self.training, True
        try:
            return original(self, *arguments)  # type: ignore[no-any-return]
        finally:
            self.training = was

    return defective


def _divides_by_nothing(result: CortexGPTState, model: CortexGPT, state: CortexGPTState) -> CortexGPTState:
    """Of a ring that was consolidated before and not written since."""
    before = model.__dict__.get("consolidated")
    model.__dict__["consolidated"] = state.short_term
    if before is not state.short_term or not isinstance(result.long_term, LongTermState):
        return result
    return replace(result, long_term=replace(result.long_term, values=result.long_term.values * torch.nan))


def _minus_infinity(scores: Tensor, visible: Tensor) -> Tensor:
    return torch.softmax(scores.masked_fill(~visible, -torch.inf), dim=-1)


def _in_place(original: Any) -> Any:
    def defective(self: MemoryBlock, x: Tensor, ring: ShortTermState, *rest: Any) -> Any:
        if ring.filled:
            ring.values.mul_(1.01)
        return original(self, x, ring, *rest)

    return defective


def _ignoring(names: set[str]) -> Make:
    """Forward calls without regard to some switches."""

    def make(original: Any) -> Any:
        def defective(self: CortexGPT, tokens: Tensor, state: Any = None, disabled: Any = ()) -> Any:
            return original(self, tokens, state, set(disabled) - names)

        return defective

    return make


def _kept_state(change: Any) -> Make:
    """Forward calls whose state goes through `change(state, model, tokens, given state)`."""

    def make(original: Any) -> Any:
        def defective(self: CortexGPT, tokens: Tensor, state: Any = None, disabled: Any = ()) -> Any:
            output = original(self, tokens, state, disabled)
            given = self.initial_state(len(tokens)) if state is None else state
            return replace(output, state=change(output.state, self, tokens, given))

        return defective

    return make


def _wiped_at_odd_lengths(state: CortexGPTState, model: CortexGPT, tokens: Tensor, _: Any) -> CortexGPTState:
    ring = state.short_term
    if tokens.shape[1] % 8 == 0:
        return state
    return replace(state, short_term=ShortTermState(ring.keys * 1e-6, ring.values * 1e-6, ring.reads))


def _first_kept(original: Any) -> Any:
    def defective(self: LongTermState, keys: Tensor, values: Tensor, codes: Tensor, capacity: int | None) -> Any:
        grown = original(self, keys, values, codes, None)
        return LongTermState(grown.keys[:capacity], grown.values[:capacity], grown.codes[:capacity])

    return defective


def _unbounded(original: Any) -> Any:
    return lambda self, keys, values, codes, _capacity: original(self, keys, values, codes, None)


def _attached(original: Any) -> Any:
    def defective(
        self: ShortTermMemory, state: Any, plan: ReadPlan, flat_values: Tensor, count: Any, initial: float
    ) -> ShortTermState:
        ring: ShortTermState = original(self, state, plan, flat_values, count, initial)
        last = plan.weights.sum() * 0.0
        return ShortTermState(ring.keys + last, ring.values, ring.reads)

    return defective


def _oldest_kept(original: Any) -> Any:
    def defective(self: ShortTermMemory, state: ShortTermState, *rest: Any) -> ShortTermState:
        ring: ShortTermState = original(self, state, *rest)
        if state.filled < self.spec.capacity:
            return ring
        return state

    return defective


def _saved(change: Any) -> Make:
    return after(lambda tensors, _self: change(dict(tensors)))


def _without_long_term(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("long_term.")}


def _reads_forgotten(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**tensors, "short_term.reads": torch.arange(tensors["short_term.reads"].numel()).float().view_as(
        tensors["short_term.reads"]).flip(-1)}  # fmt: skip


def _values_for_keys(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**tensors, "short_term.keys": tensors["short_term.values"] * 0.5}


def _half_index(state: LongTermState) -> FlatIndex:
    return FlatIndex(state.codes[: 1 + state.entries // 2])


def _nearest_missed(original: Any) -> Any:
    def defective(self: FlatIndex, queries: Tensor, k: int) -> Tensor:
        found: Tensor = original(self, queries, k + 1)
        return found[:, 1:] if found.shape[1] > 1 else found

    return defective


def _other_list(original: Any) -> Any:
    return lambda self, codes, lists, k: original(self, codes, lists - 1, k)


def _diary_without_capacity(original: Any) -> Any:
    return lambda self, spec: original(self, spec.model_copy(update={"capacity": 10_000_000}))


def _diary_keeps_the_first(original: Any) -> Any:
    def defective(self: Diary, spec: Contexts) -> Diary:
        grown: Diary = original(self, spec.model_copy(update={"capacity": 10_000_000}))
        pages = Pages(grown.pages.tokens[: spec.capacity], grown.pages.sources[: spec.capacity])
        return replace(grown, pages=pages)

    return defective


def _written_at_once(original: Any) -> Any:
    """What a call reads can be found by the same call."""

    def defective(self: ContextMemory, logits: Tensor, hidden: Tensor, tokens: Tensor, diary: Diary) -> Any:
        after = diary.read(tokens, self.spec).consolidated(self.spec)
        return original(self, logits, hidden, tokens, replace(diary, pages=after.pages))

    return defective


def _pages_forgotten(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor[:0] if name == "tokens" or name == "sources" else tensor for name, tensor in tensors.items()}


def _gate_without_floor(self: MemoryGate, logits: Tensor, live: Tensor) -> Tensor:
    towards_current = logits + torch.tensor([50.0, 0.0, 0.0])
    return towards_current.masked_fill(~live, -torch.inf).softmax(-1)


def _no_gradient(original: Any) -> Any:
    def defective(*arguments: Any) -> Any:
        with torch.no_grad():
            return original(*arguments)

    return defective


def _carried_over(original: Any) -> Any:
    def defective(self: CortexGPT, state: CortexGPTState, rows: int) -> Any:
        return state if state.short_term.keys.shape[0] == rows else original(self, state, rows)

    return defective


MEMORY_MUTANTS = (
    Mutant("one-ring-for-all-rows", CORTEX, "all rows of a batch write into and read from one ring",
           replaced(MemoryBlock, "shares_one_ring", instead(property(lambda self: self.short_term is not None))),
           caught_by="batch_isolation"),
    Mutant("ring-survives-batches", CORTEX, "short-term memory goes from one batch into the next",
           replaced(CortexGPT, "between_batches", _carried_over), caught_by="repeatability"),
    Mutant("dropout-in-evaluation", CORTEX, "memory dropout also when evaluating",
           replaced(ShortTermMemory, "plan", _dropout_always), caught_by="repeatability"),
    Mutant("given-state-changed", CORTEX, "a call changes the memory that it was given, in place",
           replaced(MemoryBlock, "forward", _in_place)),
    Mutant("mask-with-infinity", CORTEX, "a query that sees nothing takes the softmax of −inf only",
           together(rebound(fuses, instead(lambda _device: False)), rebound(banded_weights, instead(_minus_infinity))),
           caught_by="finite_gradients"),
    Mutant("store-without-gradient", CORTEX, "reading long-term memory takes no gradient",
           replaced(LongTermRing, "read", _no_gradient), caught_by="every_parameter_learns"),
    Mutant("gate-collapse", CORTEX, "the gate has no floor and is saturated on the current vector",
           replaced(MemoryGate, "shares", instead(_gate_without_floor)), caught_by="gate_balance"),
    Mutant("dead-switches", CORTEX, "memories cannot be switched off",
           replaced(CortexGPT, "forward", _ignoring({"short_term", "long_term"})), caught_by="every_switch_counts"),
    Mutant("dead-long-term-switch", CORTEX, "long-term memory cannot be switched off",
           replaced(CortexGPT, "forward", _ignoring({"long_term"})), caught_by="every_switch_counts"),
    Mutant("reads-nothing", CORTEX, "short-term memory is read as zeros",
           replaced(ShortTermMemory, "read_out", after(lambda out, *_: 0.0 * out)), caught_by="every_parameter_learns"),
    Mutant("state-keeps-the-graph", CORTEX, "what is stored hangs on the call's graph",
           replaced(ShortTermMemory, "advance", _attached), caught_by="state_is_detached"),
    in_source("readings-keep-the-graph", CORTEX, "readings of gates keep the graph of the call", MemoryBlock, "forward",
              "GateReading(shares.detach(),", "GateReading(shares,", by="state_is_detached"),
    Mutant("state-not-carried", CORTEX, "a call returns the memory that it was given",
           replaced(CortexGPT, "forward", _kept_state(lambda _state, _model, _tokens, given: given)),
           caught_by="chunk_invariance"),
    Mutant("state-wiped-at-odd-lengths", CORTEX, "memory fades to nothing unless the length is a multiple of 8",
           replaced(CortexGPT, "forward", _kept_state(_wiped_at_odd_lengths)), caught_by="chunk_invariance"),
    Mutant("full-ring-stays", CORTEX, "a full ring takes nothing new",
           replaced(ShortTermMemory, "advance", _oldest_kept)),
    Mutant("store-evicts-the-newest", CORTEX, "a full store drops what comes in",
           replaced(LongTermState, "append", _first_kept), caught_by="oldest_is_evicted"),
    Mutant("unbounded-store", CORTEX, "the store has no capacity", replaced(LongTermState, "append", _unbounded),
           caught_by="memory_is_bounded"),
    Mutant("stale-index", CORTEX, "the index belongs to other codes",
           replaced(LongTermState, "index", instead(property(lambda self: FlatIndex(self.codes.flip(0))))),
           caught_by="stored_is_found"),
    Mutant("half-an-index", CORTEX, "only the newer half of the store is indexed",
           replaced(LongTermState, "index", instead(property(_half_index))), caught_by="stored_is_found"),
    Mutant("nearest-missed", CORTEX, "a search leaves out the nearest entry",
           replaced(FlatIndex, "search", _nearest_missed), caught_by="stored_is_found"),
    Mutant("store-not-saved", CORTEX, "checkpoints leave long-term memory out",
           replaced(CortexGPTState, "tensors", _saved(_without_long_term)), caught_by="save_and_load"),
    Mutant("reads-not-saved", CORTEX, "read counts come back from a checkpoint in another order",
           replaced(CortexGPTState, "tensors", _saved(_reads_forgotten)), caught_by="save_and_load"),
    Mutant("keys-saved-wrongly", CORTEX, "values are saved in place of keys",
           replaced(CortexGPTState, "tensors", _saved(_values_for_keys)), caught_by="save_and_load"),
    Mutant("second-consolidation-divides-by-nothing", CORTEX, "consolidating a ring again gives NaN",
           replaced(CortexGPT, "consolidate", after(_divides_by_nothing)), caught_by="any_order_works"),
    Mutant("gate-without-long-term", CORTEX, "long-term memory is written and never read",
           replaced(MemoryBlock, "_read_long_term", after(lambda read, *_: None))),
    Mutant("own-occurrences-seen", CONTEXTS, "in training a place finds itself in memory",
           replaced(ContextReadOut, "_own", after(lambda own, *_: own & False)), caught_by="no_own_occurrence"),
    Mutant("diary-written-at-once", CONTEXTS, "what a call reads can be found by the same call",
           replaced(ContextMemory, "mixed", _written_at_once), caught_by="causality"),
    Mutant("unbounded-diary", CONTEXTS, "the diary has no capacity",
           replaced(Diary, "consolidated", _diary_without_capacity), caught_by="oldest_is_evicted"),
    Mutant("diary-evicts-the-newest", CONTEXTS, "a full diary drops what comes in",
           replaced(Diary, "consolidated", _diary_keeps_the_first), caught_by="oldest_is_evicted"),
    Mutant("diary-not-saved", CONTEXTS, "checkpoints leave the diary's pages out",
           replaced(Diary, "tensors", _saved(_pages_forgotten)), caught_by="save_and_load"),
    Mutant("neighbour-lists-searched", CONTEXTS, "a search looks into another list",
           replaced(ListedIndex, "search", _other_list), caught_by="stored_is_found"),
    Mutant("memory-blind-mixture", CONTEXTS, "what was found never enters the prediction",
           replaced(Mixture, "forward", instead(lambda self, logits, log_odds, found: logits)),
           caught_by="every_switch_counts"),
)  # fmt: skip
