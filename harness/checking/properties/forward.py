"""What a model computes: that of a form written out token by token, in outputs, memory, readings and gradients."""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn

from cortexzoo.harness.checking.experts import in_float64
from cortexzoo.harness.checking.other_settings import with_settings
from cortexzoo.harness.checking.properties.base import (
    Case,
    DoesNotApply,
    Finding,
    Property,
    largest_difference,
    number,
    scale_of,
)
from cortexzoo.harness.checking.properties.forward_cases import reference_cases, reference_strategy, runs
from cortexzoo.harness.checking.subject import Model, Subject
from cortexzoo.harness.checking.written_out import (
    WrittenOut,
    beside_written_out,
    counted,
    written_out_consolidation,
    written_out_cortexgpt,
    written_out_hybrid,
    written_out_transformer,
    written_out_without,
)
from cortexzoo.specs.properties import PROPERTIES
from cortexzoo.specs.variant import HardTopK
from cortexzoo.zoo.memory.long_term import LongTermState
from cortexzoo.zoo.models.cortexgpt import CortexGPT, CortexGPTState
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.hybrid.state import HybridState
from cortexzoo.zoo.models.interface import MemoryState
from cortexzoo.zoo.models.transformer import Transformer, TransformerState

BOUND = PROPERTIES["forward_matches_a_reference"].bound
LEAST_GRADIENT = 1e-8
"""Of the largest gradient of all weights: what is smaller is compared in terms of it, since it may be rounding."""
MOVED = 0.1
"""Standard deviation of what is added to the scores of matching tokens, against `SCORE_OF_A_TOKEN` = 0.5."""
Compared = dict[str, tuple[Tensor, Tensor]]
"""What the model gives and what the written-out form gives, by name."""
PIECE = 10
"""Tokens after which a memory is consolidated that need not be the subject's, so that its store is full."""
FEW = 2
"""Tokens of the longest text that is read again with other weights."""
IN_TURNS = 33
"""Tokens of the longest text beside which another one is read in turns."""
PIECES = "memory/output_share"
"""A reading that depends on how a call is cut into pieces, and is left out."""


def forward_matches_a_reference(subject: Subject, case: Case) -> Finding:
    """Logits, memory, what is consolidated, readings and gradients in float64 against those of the written-out form.

    The memory at the start is that of `before` tokens, consolidated; the trained one is too large for lists. Shared
    are the weights and, of a hybrid, the base.
    """
    _require_written_out(subject.model)
    settings = str(case.get("settings", ""))
    model = in_float64(with_settings(subject.copy(), settings)).train(case["training"] is True)
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
    elif case["text"] in ("recalls", "nearly recalls"):
        tokens = torch.cat([tokens[:, :before], tokens[:, before - length : before]], dim=1)
        if case["text"] == "nearly recalls":
            tokens[:, before + length // 4] = (tokens[:, before + length // 4] + 1) % model.vocab_size
    elif case["text"] == "runs":
        assert isinstance(model, CortexGPT) and model.contexts is not None
        run = torch.tensor([*runs(model.contexts.spec), *[0] * length])
        tokens = (run % model.vocab_size)[None].expand(rows, -1)
    wanted = torch.randn(rows, length, model.vocab_size, generator=torch.Generator().manual_seed(seed)).double()
    with torch.random.fork_rng(devices=[]), _form(str(case.get("form", ""))):
        state = _after(model, tokens[:, :before], rows, PIECE if settings else max(1, before))
        if switch := str(case.get("without", "")):
            compared = _without(model, tokens[:, before:], state, switch)
        else:
            compared = _compared(model, tokens[:, before:], state, wanted, seed)
    apart = {name: largest_difference(one, other) / scale_of(other.detach()) for name, (one, other) in compared.items()}
    worst = max(apart, key=lambda name: apart[name])
    # A wrong output makes memory and gradients wrong as well, so that the first is named and not the largest.
    what = next((name for name in apart if apart[name] > BOUND), worst)
    how = "".join(f"{word} {case[word]}, " for word in ("settings", "form", "without") if case.get(word))
    reason = f"{what} is {apart[what]:.2g} from what the written-out form gives ({how}{rows} rows of {length} tokens"
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


def _form(form: str) -> AbstractContextManager[object]:
    """Where `form` is autocast, a region in which a model takes the form that it has on a card, and for half precision.

    Numbers in float64 stay what they are there, so that it must give the same.
    """
    return torch.autocast("cpu", dtype=torch.bfloat16) if form == "autocast" else nullcontext()


@torch.no_grad()
def _after(model: Model, tokens: Tensor, rows: int, piece: int) -> MemoryState:
    state: MemoryState = model.initial_state(rows)
    for part in tokens.split(piece, dim=1) if tokens.shape[1] else ():
        state = model.consolidate(model(part, state).state)
    return state


@torch.no_grad()
def _without(model: Model, tokens: Tensor, state: MemoryState, switch: str) -> Compared:
    """With one memory switched off: logits, the others' memories, and its own as it was, also one token at a time."""
    match model, state:
        case CortexGPT(), CortexGPTState():
            written = written_out_without(model, tokens, state, switch)
        case Hybrid(), HybridState():
            written = written_out_hybrid(model, tokens, state, (switch,))
        case _:
            raise AssertionError("only what has a memory is compared without it")
    output = model(tokens, state, disabled={switch})
    found = {"an output": (output.logits, written.logits)} | beside_written_out(output.state, written)
    if isinstance(state, CortexGPTState):
        own = "short_term." if switch == "short_term" else ("long_term.", "diary.")
        after = output.state.tensors()
        found |= {
            f"{name}, switched off": (after[name], t) for name, t in state.tensors().items() if name.startswith(own)
        }
    if not (isinstance(model, CortexGPT) and isinstance(model.spec.columns.sparsity, HardTopK)):
        logits = []
        with model.fixed_weights():
            for token in tokens.split(1, dim=1):
                single = model(token, state, disabled={switch})
                logits.append(single.logits)
                state = single.state
        found["an output of one token at a time"] = (torch.cat(logits, dim=1), written.logits)
    return found


def _compared(model: Model, tokens: Tensor, state: MemoryState, wanted: Tensor, seed: int) -> Compared:
    torch.manual_seed(seed)
    output = model(tokens, state)
    moved = _gradients(model, output.logits, wanted)
    torch.manual_seed(seed)
    written = _written_out(model, tokens, state)
    others = _gradients(model, written.logits, wanted)
    found = {"an output": (output.logits, written.logits)} | beside_written_out(output.state, written)
    found |= counted(model, output.state, state, tokens)
    if model.training:
        return found | _scaled(moved, others)
    with torch.no_grad():
        empty = model(tokens[:, :0], state)
        found |= {"the output of no tokens": (empty.logits, output.logits[:, :0])}
        found |= _left_by_nothing(empty.state.tensors(), state.tensors())
        found["the output after what is read"] = (model.read(tokens, state).logits, written.logits[:, -1:])
    if not (isinstance(model, CortexGPT) and isinstance(model.spec.columns.sparsity, HardTopK)):
        one_by_one, after, readings = _one_by_one(model, tokens, state)
        found["an output of one token at a time"] = (one_by_one, written.logits)
        if isinstance(model, Hybrid):
            found["how many readings single tokens give"] = (torch.tensor(float(readings)), torch.tensor(0.0))
        memories = beside_written_out(after, written) | counted(model, after, state, tokens)
        found |= {f"after single tokens {name}": pair for name, pair in memories.items()}
    found |= _readings(output.readings, written) | _consolidated(model, output.state) | _scaled(moved, others)
    return found | (_moved_on(model, tokens, state) if tokens.shape[1] <= FEW else {})


def _left_by_nothing(after: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> Compared:
    """A memory that has read no tokens, beside itself; one whose shape is another is infinitely far off."""
    absent = torch.tensor(math.inf)
    return {
        f"{name} after no tokens": (after[name].double(), tensor.double())
        if name in after and after[name].shape == tensor.shape
        else (absent, -absent)
        for name, tensor in before.items()
    }


@torch.no_grad()
def _moved_on(model: Model, tokens: Tensor, state: MemoryState) -> Compared:
    """The output once the weights have changed, after tokens were read one by one: nothing of before may be left."""
    model(tokens, state)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.mul_(1 + MOVED)
    logits = model(tokens, state).logits
    return {"an output after the weights have changed": (logits, _written_out(model, tokens, state).logits)}


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
    readings: a hybrid that takes its short way gives none. Beside it a hybrid reads another text in turns.
    """
    logits, readings, beside = [], 0, state
    with model.fixed_weights():
        for token in tokens.split(1, dim=1):
            output = model.read(token, state)
            logits.append(output.logits)
            readings += len(output.readings)
            state = output.state
            if isinstance(model, Hybrid) and isinstance(beside, HybridState) and tokens.shape[1] <= IN_TURNS:
                beside = model.read(model.vocab_size - 1 - token, beside).state
    return torch.cat(logits, dim=1), state, readings


def _gradients(model: nn.Module, logits: Tensor, wanted: Tensor) -> Mapping[str, Tensor]:
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    loss = (logits * wanted).mean()
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(named, found, strict=True))


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
