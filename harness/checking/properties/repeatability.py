"""Evaluation is a question, not an event: asking twice gives the same answer and changes nothing."""

from collections.abc import Iterable

import torch
from hypothesis import strategies as st
from torch import Tensor

from cortexzoo.harness.checking.properties.base import Case, Finding, Property, largest_difference, number
from cortexzoo.harness.checking.subject import Model, Subject

LONGEST, MOST_ROWS = 200, 5


def repeatability_cases(subject: Subject) -> Iterable[Case]:
    """One token, a few, and the recipe's length."""
    for length in sorted({1, 17, subject.experiment.recipe.sequence_length}):
        yield {"length": length, "rows": 2}


def repeatability_strategy(_: object) -> st.SearchStrategy[Case]:
    """Any batch."""
    return st.fixed_dictionaries({"length": st.integers(1, LONGEST), "rows": st.integers(1, MOST_ROWS)})


@torch.no_grad()
def repeatability(subject: Subject, case: Case) -> Finding:
    """Evaluate the same tokens twice in a session that keeps its memory as the variant does.

    Compared bit by bit: logits, weights, buffers, the memory that each call starts from, torch's random state.
    """
    model = subject.copy()
    rows = number(case, "rows")
    tokens = subject.sequences(rows, number(case, "length"))
    start = subject.start(model, rows)
    before = _surroundings(model) | _named("memory", start.tensors())
    first = model(tokens, start)
    written = _surroundings(model) | _named("memory", start.tensors())
    again = model.between_batches(first.state, rows)
    second = model(tokens, again)
    changes = {
        "the logits": largest_difference(first.logits, second.logits),
        **{name: _change(before.get(name), written.get(name)) for name in before | written},
    }
    carried, started = _named("memory", again.tensors()), _named("memory", start.tensors())
    for name in carried | started:
        changes[name] = max(changes.get(name, 0.0), _change(started.get(name), carried.get(name)))
    delta = max(changes.values())
    if delta == 0:
        reason = "two evaluation calls gave the same logits and changed no weight, memory or random state"
        return Finding(0.0, reason, case)
    changed = [name for name, change in changes.items() if change]
    shown = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
    reason = f"an evaluation call changed {shown}"
    return Finding(delta, reason, {**case, "changed": changed[0], "delta": delta})


def _surroundings(model: Model) -> dict[str, Tensor]:
    """Copies of everything that a call could change behind the caller's back."""
    everything = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {**_named("model", everything), "torch's random state": torch.get_rng_state()}


def _named(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix} {name}": tensor.detach().clone() for name, tensor in tensors.items()}


def _change(before: Tensor | None, after: Tensor | None) -> float:
    return float("inf") if before is None or after is None else largest_difference(before, after)


REPEATABILITY = (Property("repeatability", repeatability, repeatability_cases, repeatability_strategy),)
