"""What a model computes: that of a form written out token by token, in outputs, memory, readings and gradients."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from cortexzoo.harness.checking.experts import in_float64
from cortexzoo.harness.checking.properties.base import (
    Case,
    DoesNotApply,
    Finding,
    Property,
    largest_difference,
    number,
    scale_of,
)
from cortexzoo.harness.checking.subject import Model, Subject
from cortexzoo.harness.checking.written_out import (
    WrittenOut,
    counted,
    written_out_consolidation,
    written_out_cortexgpt,
    written_out_hybrid,
    written_out_transformer,
)
from cortexzoo.specs.memory import Contexts
from cortexzoo.specs.properties import PROPERTIES
from cortexzoo.specs.variant import HardTopK
from cortexzoo.zoo.memory.long_term import LongTermState
from cortexzoo.zoo.models.cortexgpt import CortexGPT, CortexGPTState
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.hybrid.state import HybridState
from cortexzoo.zoo.models.interface import MemoryState
from cortexzoo.zoo.models.transformer import Transformer, TransformerState

BOUND = PROPERTIES["forward_matches_a_reference"].bound
LONGEST, MOST_ROWS, MOST_BEFORE = 150, 3, 60
LEAST_GRADIENT = 1e-8
"""Of the largest gradient of all weights: what is smaller is compared in terms of it, since it may be rounding."""
MOVED = 0.1
"""Standard deviation of what is added to the scores of matching tokens, against `SCORE_OF_A_TOKEN` = 0.5."""
Compared = dict[str, tuple[Tensor, Tensor]]
"""What the model gives and what the written-out form gives, by name."""
PIECES = "memory/output_share"
"""A reading that depends on how a call is cut into pieces, and is left out."""


def reference_cases(subject: Subject) -> Iterable[Case]:
    """One token, lengths on both sides of a chunk and a window, and a memory of nothing, a chunk, or more than a ring.

    A hybrid begins between two chunks. A text that `recurs` is the data's, and begins again with what was read before;
    one that `recalls` repeats the end of one of more than 255 tokens, far behind the 255th or right behind it; one of
    `runs` repeats a token so often that more contexts are equal than a memory finds. Once the model is in training
    mode, and drops out.
    """
    sizes = [(1, 2, 0), (2, 1, 0), (9, 2, 0), (33, 1, 0), (70, 2, 0), (130, 1, 0)]
    if isinstance(subject.model, CortexGPT | Transformer):
        sizes += [(1, 2, 3), (9, 3, 30)]
    if isinstance(subject.model, Hybrid):
        sizes += [(9, 2, subject.model.spec.chunk_size)]
    for length, rows, before in sizes:
        yield _case(length, rows, before)
    if isinstance(subject.model, CortexGPT):
        yield _case(40, 2, 50, "recurs")
        yield _case(9, 2, 12, training=True)
        if subject.model.contexts is not None:
            yield _case(8, 1, len(_runs(subject.model.contexts.spec)), "runs")
            yield _case(12, 1, 300, "recalls")
            yield _case(12, 1, 262, "recalls")


def _case(length: int, rows: int, before: int, text: str = "random", *, training: bool = False) -> Case:
    return {"length": length, "rows": rows, "before": before, "seed": 0, "text": text, "training": training}


def _runs(spec: Contexts) -> list[int]:
    """Two runs of a token with other ends: of the equal contexts in them a memory finds some, and only one end."""
    return [0] * (spec.context + spec.top_k) + [1] + [0] * (spec.context + 5) + [2]


def reference_strategy(subject: Subject) -> st.SearchStrategy[Case]:
    """Any text after any other."""
    before: st.SearchStrategy[int] = st.just(0)
    if isinstance(subject.model, CortexGPT | Transformer):
        before = st.integers(0, MOST_BEFORE)
    elif isinstance(subject.model, Hybrid):
        before = st.sampled_from([0, subject.model.spec.chunk_size])
    return st.fixed_dictionaries(
        {
            "length": st.integers(1, LONGEST),
            "rows": st.integers(1, MOST_ROWS),
            "before": before,
            "seed": st.integers(0, 99),
            "text": st.sampled_from(["random", "recurs"]),
            "training": st.booleans(),
        }
    )


def forward_matches_a_reference(subject: Subject, case: Case) -> Finding:
    """Logits, memory, what is consolidated, readings and gradients in float64 against those of the written-out form.

    The memory at the start is that of `before` tokens, consolidated; the trained one is too large for lists. Shared
    are the weights and, of a hybrid, the base.
    """
    _require_written_out(subject.model)
    model = in_float64(subject.copy()).train(case["training"] is True)
    if isinstance(model, Hybrid):
        # A slow store has no written-out form: it is filled in sleep, and judged by the properties of consolidation.
        for layer in model.sidecars:
            model.sidecar(layer).slow_store = None
    _keep_from_ties(model)
    length, rows, before, seed = (number(case, name) for name in ("length", "rows", "before", "seed"))
    tokens = subject.random_tokens(rows, before + length, seed)
    if case["text"] == "recurs":
        again = subject.sequences(rows, max(before, length))
        tokens = torch.cat([again[:, :before], again[:, :length]], dim=1)
    elif case["text"] == "recalls":
        tokens = torch.cat([tokens[:, :before], tokens[:, before - length : before]], dim=1)
    elif case["text"] == "runs":
        assert isinstance(model, CortexGPT) and model.contexts is not None
        runs = torch.tensor([*_runs(model.contexts.spec), *[0] * length])
        tokens = (runs % model.vocab_size)[None].expand(rows, -1)
    wanted = torch.randn(rows, length, model.vocab_size, generator=torch.Generator().manual_seed(seed)).double()
    with torch.random.fork_rng(devices=[]):
        state = _after(model, tokens[:, :before], rows)
        compared = _compared(model, tokens[:, before:], state, wanted, seed)
    apart = {name: largest_difference(one, other) / scale_of(other.detach()) for name, (one, other) in compared.items()}
    worst = max(apart, key=lambda name: apart[name])
    # A wrong output makes memory and gradients wrong as well, so that the first is named and not the largest.
    what = next((name for name in apart if apart[name] > BOUND), worst)
    reason = f"{what} is {apart[what]:.2g} from what the written-out form gives ({rows} rows of {length} tokens"
    return Finding(apart[worst], reason + (f" after {before})" if before else ")"), {**case, "first": what})


@torch.no_grad()
def _keep_from_ties(model: Model) -> None:
    """What each matching token adds to a context's score is moved at random, in place, for both forms alike.

    It begins at zero. Then contexts that match in other tokens weigh exactly the same, and the largest of their votes,
    which the share depends on, has no gradient there: each form may give another of the one-sided ones.
    """
    if isinstance(model, CortexGPT) and model.contexts is not None:
        lag = model.contexts.read_out.lag
        lag.add_(torch.randn(lag.shape, generator=torch.Generator().manual_seed(0)), alpha=MOVED)


def _require_written_out(model: Model) -> None:
    if not isinstance(model, CortexGPT | Transformer | Hybrid):
        raise DoesNotApply(f"no written-out form of {type(model).__name__}")
    if isinstance(model, CortexGPT) and model.memory.short_term is None:
        raise DoesNotApply("the written-out form needs a short-term memory, and this variant has none")


@torch.no_grad()
def _after(model: Model, tokens: Tensor, rows: int) -> MemoryState:
    state: MemoryState = model.initial_state(rows)
    if not tokens.shape[1]:
        return state
    kept: MemoryState = model.consolidate(model(tokens, state).state)
    return kept


def _compared(model: Model, tokens: Tensor, state: MemoryState, wanted: Tensor, seed: int) -> Compared:
    torch.manual_seed(seed)
    output = model(tokens, state)
    moved = _gradients(model, output.logits, wanted)
    torch.manual_seed(seed)
    written = _written_out(model, tokens, state)
    others = _gradients(model, written.logits, wanted)
    found = {"an output": (output.logits, written.logits)} | _memories(output.state, written)
    found |= counted(model, output.state, state, tokens)
    if model.training:
        return found | _scaled(moved, others)
    with torch.no_grad():
        found["the output after what is read"] = (model.read(tokens, state).logits, written.logits[:, -1:])
    if not (isinstance(model, CortexGPT) and isinstance(model.spec.columns.sparsity, HardTopK)):
        one_by_one, after, readings = _one_by_one(model, tokens, state)
        found["an output of one token at a time"] = (one_by_one, written.logits)
        if isinstance(model, Hybrid):
            found["how many readings single tokens give"] = (torch.tensor(float(readings)), torch.tensor(0.0))
        memories = _memories(after, written) | counted(model, after, state, tokens)
        found |= {f"after single tokens {name}": pair for name, pair in memories.items()}
    return found | _readings(output.readings, written) | _consolidated(model, output.state) | _scaled(moved, others)


def _scaled(moved: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> Compared:
    """Gradients in terms of the largest of their own."""
    found = {}
    largest = max((float(other.abs().max()) for other in others.values() if other.numel()), default=0.0)
    for name, one in moved.items():
        own = float(others[name].abs().max()) if one.numel() else 0.0
        scale = max(own, LEAST_GRADIENT * largest) or 1.0
        found[f"the gradient of {name}"] = (one / scale, others[name] / scale)
    return found


def _written_out(model: Model, tokens: Tensor, state: MemoryState) -> WrittenOut:
    match model, state:
        case CortexGPT(), CortexGPTState():
            return written_out_cortexgpt(model, tokens, state)
        case Transformer(), TransformerState():
            return written_out_transformer(model, tokens, state)
        case Hybrid(), HybridState():
            return written_out_hybrid(model, tokens, state)
    raise AssertionError("only what has a written-out form is compared")


@torch.no_grad()
def _consolidated(model: Model, state: MemoryState) -> Compared:
    """The store of a CortexGPT after a consolidation, its entries encoded by weights that have learnt since."""
    if not isinstance(model, CortexGPT) or not isinstance(state, CortexGPTState):
        return {}
    if isinstance(state.long_term, LongTermState):
        state = replace(state, long_term=replace(state.long_term, codes=state.long_term.codes + 1))
    wanted = written_out_consolidation(model, state)
    if not wanted:
        return {}
    store = model.consolidate(state).long_term
    assert isinstance(store, LongTermState)
    found = (store.keys, store.values, store.codes)
    return {name: (one.double(), tensor.double()) for one, (name, tensor) in zip(found, wanted.items(), strict=True)}


def _readings(found: Mapping[str, Tensor], written: WrittenOut) -> Compared:
    """Each by its name; one that only one of the two gives is infinitely far off."""
    absent = torch.tensor(math.inf)
    given = {name: value.double() for name, value in found.items() if not name.startswith(PIECES)}
    wanted = {name: torch.tensor(value, dtype=torch.float64) for name, value in written.readings.items()}
    return {
        f"the reading {name}": (given.get(name, absent), wanted.get(name, -absent))
        for name in dict.fromkeys([*given, *wanted])
    }


@torch.no_grad()
def _one_by_one(model: Model, tokens: Tensor, state: MemoryState) -> tuple[Tensor, MemoryState, int]:
    """Logits and memory as they are while a text is generated: single tokens, and weights that do not change.

    Hard top-k selects over all tokens of a call, so that there one token is another question. The number is that of
    readings: a hybrid that takes its short way gives none.
    """
    logits, readings = [], 0
    with model.fixed_weights():
        for token in tokens.split(1, dim=1):
            output = model.read(token, state)
            logits.append(output.logits)
            readings += len(output.readings)
            state = output.state
    return torch.cat(logits, dim=1), state, readings


def _gradients(model: nn.Module, logits: Tensor, wanted: Tensor) -> Mapping[str, Tensor]:
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    loss = (logits * wanted).mean()
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(named, found, strict=True))


def _memories(state: MemoryState, written: WrittenOut) -> Compared:
    """The memory of the model beside that of the written-out form."""
    match state:
        case CortexGPTState(short_term=kept):
            found = {"how much the short-term memory holds": torch.tensor(float(state.sizes()["stm"]))}
            found |= {"the short-term keys": kept.keys, "the short-term values": kept.values}
            found["how often the short-term memory was read"] = kept.reads
        case TransformerState():
            found = {"the cached keys": state.keys, "the cached values": state.values}
            found["how many tokens are cached"] = torch.tensor(float(state.sizes()["cache"]))
        case HybridState():
            found = {
                f"{name} of layer {layer}": tensor
                for layer, memory in state.sidecars.items()
                for name, tensor in memory.tensors().items()
            }
            found["how many tokens the window holds"] = torch.tensor(float(state.sizes()["window"]))
        case _:
            raise AssertionError("only what has a written-out form is compared")
    return {name: (found[name], tensor) for name, tensor in written.memory.items()}


FORWARD = (
    Property(
        "forward_matches_a_reference",
        forward_matches_a_reference,
        reference_cases,
        strategy=reference_strategy,
        cost=5,
        shrinks=True,
    ),
)
