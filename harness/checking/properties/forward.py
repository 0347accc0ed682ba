"""What a model computes: that of a form written out token by token, in outputs, memory and gradients."""

from collections.abc import Iterable, Mapping

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

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
from cortexzoo.harness.checking.written_out import written_out_hybrid, written_out_transformer
from cortexzoo.specs.suite import PROPERTIES
from cortexzoo.specs.variant import HardTopK
from cortexzoo.zoo.models.cortexgpt import CortexGPT, CortexGPTState
from cortexzoo.zoo.models.cortexgpt_token_loop import Slot, token_loop
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.interface import MemoryState
from cortexzoo.zoo.models.transformer import Transformer

BOUND = PROPERTIES["forward_matches_a_reference"].bound
LONGEST, MOST_ROWS, MOST_BEFORE, ONE_BY_ONE = 150, 3, 60, 40
Compared = dict[str, tuple[Tensor, Tensor]]
"""What the model gives and what the written-out form gives, by name."""


def reference_cases(subject: Subject) -> Iterable[Case]:
    """One token, lengths on both sides of a chunk, and a memory of nothing, of a few tokens, of more than a ring."""
    sizes = [(1, 2, 0), (9, 2, 0), (33, 1, 0), (70, 2, 0), (130, 1, 0)]
    if isinstance(subject.model, CortexGPT):
        sizes += [(1, 2, 3), (9, 3, 30), (40, 2, 50)]
    for length, rows, before in sizes:
        yield {"length": length, "rows": rows, "before": before, "seed": 0}


def reference_strategy(subject: Subject) -> st.SearchStrategy[Case]:
    """Any text after any other."""
    most = MOST_BEFORE if isinstance(subject.model, CortexGPT) else 0
    return st.fixed_dictionaries(
        {
            "length": st.integers(1, LONGEST),
            "rows": st.integers(1, MOST_ROWS),
            "before": st.integers(0, most),
            "seed": st.integers(0, 99),
        }
    )


def forward_matches_a_reference(subject: Subject, case: Case) -> Finding:
    """Logits, short-term memory and gradients in float64 against those of the written-out form.

    The memory at the start is that of `before` tokens, consolidated; the trained one is too large for lists. Shared
    are the weights and, of a hybrid, the base.
    """
    _require_written_out(subject.model)
    model = subject.copy().double()
    if isinstance(model, Hybrid):
        # A slow store has no written-out form: it is filled in sleep, and judged by the properties of consolidation.
        for layer in model.sidecars:
            model.sidecar(layer).slow_store = None
    length, rows, before, seed = (number(case, name) for name in ("length", "rows", "before", "seed"))
    tokens = subject.random_tokens(rows, before + length, seed)
    tokens = torch.cat([tokens[:, :before], subject.sequences(rows, length)], dim=1) if seed % 2 else tokens
    state = _after(model, tokens[:, :before], rows)
    wanted = torch.randn(rows, length, model.vocab_size, generator=torch.Generator().manual_seed(seed)).double()
    compared = _compared(model, tokens[:, before:], state, wanted)
    apart = {name: largest_difference(one, other) / scale_of(other.detach()) for name, (one, other) in compared.items()}
    worst = max(apart, key=lambda name: apart[name])
    # A wrong output makes memory and gradients wrong as well, so that the first is named and not the largest.
    what = next((name for name in apart if apart[name] > BOUND), worst)
    reason = f"{what} is {apart[what]:.2g} from what the written-out form gives ({rows} rows of {length} tokens"
    return Finding(apart[worst], reason + (f" after {before})" if before else ")"), {**case, "first": what})


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


def _compared(model: Model, tokens: Tensor, state: MemoryState, wanted: Tensor) -> Compared:
    output = model(tokens, state)
    moved = _gradients(model, output.logits, wanted)
    found: Compared = {}
    match model:
        case CortexGPT():
            assert isinstance(state, CortexGPTState)
            logits, rings = token_loop(model, tokens, state)
            found = _rings(output.state, rings)
        case Transformer():
            logits, keys, values = written_out_transformer(model, tokens)
            found = {"the cached keys": (output.state.keys, keys), "the cached values": (output.state.values, values)}
        case Hybrid():
            logits, sidecars = written_out_hybrid(model, tokens)
            found = {
                f"{name} of layer {layer}": (output.state.sidecars[layer].tensors()[name], tensor)
                for layer, memory in sidecars.items()
                for name, tensor in memory.tensors().items()
            }
        case _:
            raise AssertionError("only what has a written-out form is compared")
    others = _gradients(model, logits, wanted)
    gradients = {f"the gradient of {name}": (moved[name], others[name]) for name in moved}
    largest = max((float(other.abs().max()) for _, other in gradients.values() if other.numel()), default=0.0) or 1.0
    scaled = {name: (one / largest, other / largest) for name, (one, other) in gradients.items()}
    alone: Compared = {}
    if not (isinstance(model, CortexGPT) and isinstance(model.spec.columns.sparsity, HardTopK)):
        one_by_one = _one_by_one(model, tokens[:, :ONE_BY_ONE], state)
        alone = {"an output of one token at a time": (one_by_one, logits[:, :ONE_BY_ONE])}
    return {"an output": (output.logits, logits), **alone, **found, **scaled}


@torch.no_grad()
def _one_by_one(model: Model, tokens: Tensor, state: MemoryState) -> Tensor:
    """Logits as they are while a text is generated: from one token after the other, with weights that do not change.

    Hard top-k selects over all tokens of a call, so that there one token is another question.
    """
    logits = []
    with model.fixed_weights():
        for token in tokens.split(1, dim=1):
            output = model.read(token, state)
            logits.append(output.logits)
            state = output.state
    return torch.cat(logits, dim=1)


def _gradients(model: nn.Module, logits: Tensor, wanted: Tensor) -> Mapping[str, Tensor]:
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    loss = (logits * wanted).mean()
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(named, found, strict=True))


def _rings(state: CortexGPTState, rings: list[list[Slot]]) -> Compared:
    """What the short-term memory holds, its newest places last."""
    kept = state.short_term
    filled = torch.tensor(float(kept.filled)), torch.tensor(float(len(rings[0])))
    found: Compared = {"how much the short-term memory holds": filled}
    if filled[0] != filled[1] or not kept.filled:
        return found
    for name, tensor in (("keys", kept.keys), ("values", kept.values)):
        other = torch.stack([torch.stack([getattr(slot, name[:-1]) for slot in ring]) for ring in rings])
        found[f"the short-term {name}"] = (tensor, other)
    reads = torch.tensor([[slot.reads for slot in ring] for ring in rings]).double()
    found["how often the short-term memory was read"] = (kept.reads, reads)
    return found


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
