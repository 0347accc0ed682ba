"""Memory: a value without history, bounded, emptied from its old end, searched rightly, and worth having."""

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from cortexzoo.harness.checking.properties.base import Case, DoesNotApply, Finding, Property, number, once
from cortexzoo.harness.checking.properties.context_search import FOUND, found_in_lists
from cortexzoo.harness.checking.properties.diary_again import wrong_in_diary
from cortexzoo.harness.checking.subject import Model, Subject
from cortexzoo.specs.memory import CompressedStore, Contexts, NoLongTerm, RawRing, ShortTermRing
from cortexzoo.specs.variant import CortexGPTSpec
from cortexzoo.zoo.memory.contexts.diary import Diary
from cortexzoo.zoo.memory.short_term import ShortTermState
from cortexzoo.zoo.models.cortexgpt import CortexGPT
from cortexzoo.zoo.models.interface import MemoryState
from cortexzoo.zoo.training.evaluation import lm_loss

ROWS = 2
CALLS = 4
ROUNDING = 1e-3
"""The index works in float32: what is nearer by less than this share is not distinguished."""
BATCHES = 8


def state_is_detached(subject: Subject, case: Case) -> Finding:
    """A training call: no tensor of the memory after it may hang on the call's graph, and no reading.

    Of a call without gradients nothing may.
    """
    model = subject.copy().train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        with torch.no_grad():
            output = model(subject.sequences(ROWS, 17), subject.start(model, ROWS))
        without = {"logits": output.logits, **output.state.tensors(), **output.readings}
        output = model(subject.sequences(ROWS, 17), subject.start(model, ROWS))
    for tensors, of in ((without, "a call without gradients"), (output.readings, "the call")):
        if attached := [name for name, tensor in tensors.items() if tensor.requires_grad]:
            return Finding(len(attached), f"{', '.join(attached)} keep the graph of {of}", case)
    if model.state_carries_gradient:
        raise DoesNotApply("its memory carries gradients from call to call, as recipe.objective.bptt_chunks requires")
    attached = [name for name, tensor in output.state.tensors().items() if tensor.requires_grad]
    if not attached:
        return Finding(0, "no tensor of the memory keeps the graph of the call", case)
    reason = f"{', '.join(attached)} keep the graph of the call, which grows from batch to batch"
    return Finding(len(attached), reason, case)


@torch.no_grad()
def every_switch_counts(subject: Subject, case: Case) -> Finding:
    """Switch each memory off in turn, when none is empty: the logits must move."""
    model = subject.copy()
    if not model.switches:
        raise DoesNotApply("the variant has no memory to switch off")
    tokens, state = subject.sequences(ROWS, 33), _filled(subject, model)
    whole = model(tokens, state).logits
    dead = [s for s in model.switches if torch.equal(whole, model(tokens, state, disabled={s}).logits)]
    if not dead:
        reason = f"switching off {' or '.join(model.switches)} changes the logits"
        return Finding(0, reason, case)
    reason = f"switching off {', '.join(dead)} changes nothing"
    return Finding(len(dead), reason, {**case, "first": dead[0]})


@torch.no_grad()
def memory_is_bounded(subject: Subject, case: Case) -> Finding:
    """Write and consolidate far beyond the capacities: the memory's bytes against those of its declared cap."""
    variant = subject.experiment.variant
    model = subject.copy()
    if not isinstance(variant, CortexGPTSpec) or not isinstance(model, CortexGPT):
        raise DoesNotApply("the variant declares no capacity of its memory")
    cap = declared_bytes(variant, model, ROWS)
    state = model.initial_state(ROWS)
    consolidations = 3 + 3 * _capacity(variant) // max(1, _writes(variant, state.short_term))
    for call in range(CALLS):
        state = model(subject.random_tokens(ROWS, 2 * _ring(variant), seed=call), state).state
    if isinstance(state.long_term, Diary) and isinstance(spec := variant.memory.long_term, Contexts):
        diary, unread = state.long_term, subject.random_tokens(ROWS, 1 + spec.capacity // ROWS)
        for _ in range(2):
            diary = diary.read(unread, spec).consolidated(spec)
        state = replace(state, long_term=diary.read(unread, spec))
        consolidations = 0
    for _ in range(min(consolidations, 200)):
        state = model.consolidate(state)
    held = held_bytes(state)
    reason = f"{held:,} bytes after {CALLS} calls and many consolidations, the declared cap is {cap:,.0f}"
    share = held / cap if cap else float("inf") if held else 0.0  # a variant without a memory may hold nothing
    return Finding(share, reason, case)


@torch.no_grad()
def oldest_is_evicted(subject: Subject, case: Case) -> Finding:
    """Both memories against a list: what stays is what was written last, in the order of writing."""
    variant, model = subject.experiment.variant, subject.copy()
    if not isinstance(variant, CortexGPTSpec) or not isinstance(model, CortexGPT):
        raise DoesNotApply("the variant evicts nothing")
    wrong = _wrong_in_ring(subject, model, variant) + _wrong_in_store(model, variant)
    reason = f"{wrong} entries are not those that were written last" if wrong else "the newest entries stay, in order"
    return Finding(wrong, reason, case)


def _wrong_in_ring(subject: Subject, model: CortexGPT, variant: CortexGPTSpec) -> int:
    """The short-term ring after two calls against that of the second call's end in one long call's keys."""
    if model.memory.short_term is None:
        return 0
    capacity, rows = _ring(variant), 1
    tokens = subject.random_tokens(rows, 2 * capacity + 3)
    state = model.initial_state(rows)
    written: list[Tensor] = []
    for piece in tokens.split(max(1, capacity // 2), dim=1):
        state = model(piece, state).state
        # The newest entries of the ring right after a call are those of the call.
        written.append(state.short_term.keys[:, -piece.shape[1] :])
    newest = torch.cat(written, dim=1)[:, -capacity:]
    kept = state.short_term.keys
    if kept.shape != newest.shape:
        return abs(kept.shape[1] - newest.shape[1])
    return int((kept != newest).any(dim=-1).sum()) + _same_twice(kept)


def _same_twice(keys: Tensor) -> int:
    """Neighbours that are equal throughout: a ring whose end was not moved on."""
    return int(bool((keys[:, 1:] == keys[:, :1]).all())) if keys.shape[1] > 2 else 0


def _wrong_in_store(model: CortexGPT, variant: CortexGPTSpec) -> int:
    """The long-term store after numbered pairs were consolidated in small portions, against a list."""
    spec, store, width = variant.memory.long_term, model.memory.long_term, variant.hidden_size
    if isinstance(spec, Contexts):
        return wrong_in_diary(spec)
    if isinstance(spec, NoLongTerm) or store is None or spec.capacity is None:
        return 0
    state = store.empty(model.vocabulary.weight)
    portion = min(spec.writes, 8) if isinstance(spec, RawRing) else 8
    written: list[int] = []
    while len(written) < spec.capacity + 2 * portion + 1:
        numbers = torch.arange(len(written) + 1, len(written) + portion + 1, dtype=torch.float32)
        pairs = numbers[None, :, None].expand(1, portion, width)
        reads = torch.full((1, portion), 10.0)
        state = store.consolidate(ShortTermState(pairs, pairs, reads), state)
        written += [int(value) for value in numbers]
    if isinstance(spec, CompressedStore):
        return abs(state.entries - spec.capacity)
    expected = written[-spec.capacity :]
    found = [int(value) for value in state.keys[:, 0].tolist()]
    return sum(a != b for a, b in zip(expected, found, strict=False)) + abs(len(expected) - len(found))


@torch.no_grad()
def stored_is_found(subject: Subject, case: Case) -> Finding:
    """recall@k of the index of a filled store, against the nearest of all codes that it may search."""
    model = subject.copy()
    if not isinstance(model, CortexGPT) or not (model.memory.long_term or model.contexts):
        raise DoesNotApply("the variant searches no memory")
    state = _filled(subject, model)
    if isinstance(diary := getattr(state, "long_term", None), Diary):
        return found_in_lists(model, diary, case)
    store = getattr(state, "long_term", None)
    if store is None or not store.entries:
        raise DoesNotApply("long-term memory stays empty: nothing is searched")
    queries = store.codes[:64] + 1e-3
    k = min(FOUND, store.entries)
    distances = torch.cdist(queries.double(), store.codes.double(), compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distances.topk(k, largest=False).values
    found = distances.gather(1, store.index.search(queries, k)).sort(dim=1).values
    # Entries may be stored more than once: whichever of equally near ones is found will do.
    recall = float((found <= nearest * (1 + ROUNDING) + ROUNDING * distances.mean()).double().mean())
    return Finding(recall, f"recall@{k} {recall:.3f} among {store.entries} entries", case)


@torch.no_grad()
def memory_matters(subject: Subject, case: Case) -> Finding:
    """Held-out loss with the memory minus the loss without any."""
    model, recipe = subject.copy(), subject.experiment.recipe
    if not model.switches:
        raise DoesNotApply("the variant has no memory to switch off")
    rows = BATCHES * recipe.batch_size
    batches: list[tuple[Tensor, Tensor | None]]
    if subject.task is None:
        tokens = subject.sequences(rows, recipe.sequence_length + 1)
        batches = [(part, None) for part in tokens.split(recipe.batch_size)]
    else:
        documents = subject.task.batch("validation", range(rows), subject.task.spec.gaps[0])
        pairs = zip(documents.tokens.split(recipe.batch_size), documents.mask.split(recipe.batch_size), strict=True)
        batches = list(pairs)
    losses = []
    for disabled in ((), model.switches):
        parts = [lm_loss(model, t, subject.start(model, len(t)), disabled, scored)[0] for t, scored in batches]
        losses.append(float(torch.stack(parts).double().mean()))
    asked = "answers" if subject.task else "held-out"
    reason = f"{asked} loss {losses[0]:.3f} with memory, {losses[1]:.3f} without"
    return Finding(losses[0] - losses[1], reason, case)


@torch.no_grad()
def length_times_eight(subject: Subject, case: Case) -> Finding:
    """Held-out loss a token at eight times the training length over that at the training length, on the same text."""
    model, length = subject.copy(), subject.experiment.recipe.sequence_length
    tokens = subject.sequences(number(case, "rows"), 8 * length + 1)
    pieces = torch.cat([tokens[:, start : start + length + 1] for start in range(0, 8 * length, length)])
    short = float(lm_loss(model, pieces, subject.start(model, len(pieces)))[0])
    long = float(lm_loss(model, tokens, subject.start(model, len(tokens)))[0])
    reason = f"loss {short:.3f} at length {length}, {long:.3f} at {8 * length}"
    return Finding(long / max(short, 1e-9), reason, case)


def two_rows(_: Subject) -> Iterable[Case]:
    """One batch shape."""
    yield {"rows": 2}


def _filled(subject: Subject, model: Model) -> object:
    """A memory that was written and consolidated."""
    state = subject.start(model, ROWS)
    for call in range(2):
        state = model(subject.sequences(ROWS, 33) if call else subject.random_tokens(ROWS, 33), state).state
    return model.consolidate(state)


def _ring(variant: CortexGPTSpec) -> int:
    ring = variant.memory.short_term
    return ring.capacity if isinstance(ring, ShortTermRing) else 1


def _capacity(variant: CortexGPTSpec) -> int:
    return getattr(variant.memory.long_term, "capacity", 0) or 0


def _writes(variant: CortexGPTSpec, ring: ShortTermState) -> int:
    return getattr(variant.memory.long_term, "writes", 1)


def held_bytes(state: MemoryState) -> int:
    """Bytes of what is remembered: all tensors but the count of tokens seen."""
    return sum(t.numel() * t.element_size() for name, t in state.tensors().items() if name != "position")


def declared_bytes(variant: CortexGPTSpec, model: CortexGPT, rows: int) -> float:
    """Keys, values and read counts of the rings, and the contents of a full store. A store without cap counts 0."""
    width, four = variant.hidden_size, 4
    groups = 1 if model.memory.shares_one_ring else rows
    ring = groups * _ring(variant) * (2 * width + 1) * four if model.memory.short_term is not None else 0
    spec = variant.memory.long_term
    match spec:
        case RawRing():
            store = spec.capacity * (2 * width + spec.code_size) * four
        case CompressedStore():
            store = (spec.capacity or 0) * 2 * spec.code_size * four
        case Contexts():
            store = spec.most_bytes(rows)
        case NoLongTerm():
            store = 0
    return float(ring + store)


MEMORY = (
    Property("state_is_detached", state_is_detached, once),
    Property("every_switch_counts", every_switch_counts, once),
    Property("memory_is_bounded", memory_is_bounded, once),
    Property("oldest_is_evicted", oldest_is_evicted, once),
    Property("stored_is_found", stored_is_found, once),
    Property("memory_matters", memory_matters, once),
    Property("length_times_eight", length_times_eight, two_rows),
)
