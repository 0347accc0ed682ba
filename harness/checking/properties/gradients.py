"""Gradients: finite at every length, and present at every parameter."""

from collections.abc import Callable, Iterable, Mapping

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from cortexzoo.harness.checking.properties.base import Case, Finding, Property, number
from cortexzoo.harness.checking.subject import Model, Subject, Tokens
from cortexzoo.specs.memory import RawRing, SigmoidGate
from cortexzoo.zoo.models.cortexgpt import CortexGPT
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.interface import MemoryState
from cortexzoo.zoo.training.evaluation import lm_loss

LENGTHS = (1, 2, 3, 17, 64, 127, 128, 129, 200)
"""One token, odd lengths, and both sides of the usual chunk and window sizes."""
LONGEST = 300
KINDS = ("random", "constant", "text")
UPDATES = 2
LEARNING_RATE = 1e-3


def finite_gradients_cases(subject: Subject) -> Iterable[Case]:
    """Every length with random, constant and real tokens."""
    for length in sorted({*LENGTHS, subject.experiment.recipe.sequence_length}):
        for tokens in KINDS:
            yield {"length": length, "tokens": tokens}


def finite_gradients_strategy(_: object) -> st.SearchStrategy[Case]:
    """Any length and kind of tokens."""
    return st.fixed_dictionaries({"length": st.integers(1, LONGEST), "tokens": st.sampled_from(KINDS)})


def finite_gradients(subject: Subject, case: Case) -> Finding:
    """One training pass: count what is not finite among logits, loss and gradients."""
    model = subject.copy().train()
    tokens = _tokens(subject, str(case["tokens"]), number(case, "length") + 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        loss, output = lm_loss(model, tokens, subject.start(model, len(tokens)))
        loss.backward()
    values: dict[str, Tensor] = {"the logits": output.logits.detach(), "the loss": loss.detach()}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            values[f"the gradient of {name}"] = parameter.grad
    return all_finite(values, f"at length {case['length']} with {case['tokens']} tokens", "", case)


def all_finite(values: Mapping[str, Tensor], place: str, tried: str, case: Case) -> Finding:
    """Counts what is not finite; `place` and `tried` end the reason where something is, and where nothing is."""
    numbers = {name: value.coalesce().values() if value.is_sparse else value for name, value in values.items()}
    bad = {name: count for name, value in numbers.items() if (count := int((~value.isfinite()).sum()))}
    if not bad:
        return Finding(0, f"outputs and gradients are finite at every tried length{tried}", case)
    first = next(iter(bad))
    kind = "NaN" if bool(numbers[first].isnan().any()) else "infinite"
    return Finding(sum(bad.values()), f"{first} is {kind} {place}", {**case, "where": first})


def every_parameter_learns_cases(subject: Subject) -> Iterable[Case]:
    """One batch shape: the recipe's length, at least two tokens."""
    yield {"rows": 4, "length": max(2, min(128, subject.experiment.recipe.sequence_length)), "updates": UPDATES}


def every_parameter_learns(subject: Subject, case: Case) -> Finding:
    """Gradients of three passes around two updates, with every memory filled.

    A zero-initialised projection hides what lies before it from the first pass, and an empty memory hides its own
    parameters from all of them. What only chooses among several things has nothing to choose where there is one.
    """
    model = subject.copy().train()
    without_choice = _without_choice(model)
    trainable = {
        name: p for name, p in model.named_parameters() if p.requires_grad and not name.startswith(without_choice)
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokens = subject.sequences(number(case, "rows"), number(case, "length") + 1)
        state = _filled(subject, model, tokens[:, :-1])

        def moved(update: int) -> set[str]:
            model.zero_grad()
            lm_loss(model, tokens.roll(update, dims=0), state)[0].backward()
            return {name for name, p in trainable.items() if p.grad is not None and bool(p.grad.any())}

        silent = silent_after(trainable, moved, number(case, "updates"))
    held = ", ".join(f"{name} {size}" for name, size in state.sizes().items() if size)
    if not silent:
        reason = f"all {len(trainable)} parameters got a gradient" + (f" (memory: {held})" if held else "")
        return Finding(0, reason, case)
    share = sum(trainable[name].numel() for name in silent) / sum(p.numel() for p in trainable.values())
    why = f"({share:.1%} of all weights" + (f"; memory: {held})" if held else ")")
    return no_gradient(trainable, silent, lambda _: why, case)


def _without_choice(model: Model) -> tuple[str, ...]:
    """Beginnings of the names of parameters that only set the shares of a sum whose one part has the share 1.

    By the settings: a gate over one source, attention over a ring of one pair, the sharpness of a search for one entry
    and of a window of one token.
    """
    found: list[str] = []
    match model:
        case CortexGPT(spec=spec):
            memory = spec.memory
            if isinstance(memory.gate, SigmoidGate) and model.memory.short_term is None:
                found.append("memory.gate.")
            if getattr(memory.short_term, "capacity", 0) == 1:
                found += [f"memory.short_term.{name}" for name in ("query.", "key.", "recency")]
            if isinstance(memory.long_term, RawRing) and memory.long_term.top_k == 1:
                found.append("memory.long_term.log_sharpness")
        case Hybrid(spec=hybrid) if hybrid.mixer.window_size == 1:
            found += [f"sidecars.{layer}.sharpness" for layer in hybrid.sidecar_layers]
    return tuple(found)


def silent_after(trainable: Mapping[str, nn.Parameter], moved: Callable[[int], set[str]], updates: int) -> set[str]:
    """Names without a gradient in the passes around `updates` steps of AdamW; `moved(n)` makes the pass after n.

    It returns the names that got a gradient, and leaves the gradients.
    """
    optimizer = torch.optim.AdamW(trainable.values(), lr=LEARNING_RATE)
    silent = set(trainable) - moved(0)
    for update in range(1, updates + 1):
        if not silent:
            break
        optimizer.step()
        silent -= moved(update)
    return silent


def no_gradient(trainable: Iterable[str], silent: set[str], why: Callable[[str], str], case: Case) -> Finding:
    """The finding on parameters without a gradient, in the model's order; `why` ends the reason for the first."""
    shown = [name for name in trainable if name in silent]
    names = ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")
    return Finding(len(silent), f"{names}: no gradient {why(shown[0])}", {**case, "first": shown[0]})


@torch.no_grad()
def _filled(subject: Subject, model: Model, tokens: Tokens) -> MemoryState:
    """A memory that was written, read and consolidated, as an unrelated batch finds it."""
    rows = len(tokens)
    state = subject.start(model, rows)
    for _ in range(2):
        state = model(tokens, state).state
    filled: MemoryState = model.between_batches(model.consolidate(state), rows)
    return filled


def _tokens(subject: Subject, kind: str, length: int) -> Tokens:
    match kind:
        case "random":
            return subject.random_tokens(2, length)
        case "constant":
            return torch.full((2, length), int(subject.text[0]))
        case "text":
            return subject.sequences(2, length)
        case _:
            raise ValueError(f"no such tokens: {kind!r}")


GRADIENTS = (
    Property("finite_gradients", finite_gradients, finite_gradients_cases, finite_gradients_strategy),
    Property("every_parameter_learns", every_parameter_learns, every_parameter_learns_cases),
)
