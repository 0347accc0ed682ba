"""Two evaluation calls give the same output and change nothing.

Of a trained model this includes every buffer and the memory that the variant keeps between batches. A bare module may
keep caches that it does not save, and is called in other shapes in between
(`cortexzoo.harness.checking.modules.repeatability`).
"""

from collections.abc import Iterable, Mapping

import torch
from hypothesis import strategies as st
from torch import Tensor

from cortexzoo.harness.checking.properties.base import Case, Finding, Property, largest_difference, number
from cortexzoo.harness.checking.subject import Model, Subject
from cortexzoo.zoo.models.cortexgpt import CortexGPT

LONGEST, MOST_ROWS, ENDLESS = 200, 5, 10**9
OUTPUT = "the output"


def repeatability_cases(subject: Subject) -> Iterable[Case]:
    """One token, a few, and the recipe's length, or what stays open of a document."""
    most = _stays_open(subject)
    for length in sorted({min(length, most) for length in (1, 17, subject.experiment.recipe.sequence_length)}):
        yield {"length": length, "rows": 2}


def repeatability_strategy(subject: Subject) -> st.SearchStrategy[Case]:
    """Any batch."""
    most = min(LONGEST, _stays_open(subject))
    return st.fixed_dictionaries({"length": st.integers(1, most), "rows": st.integers(1, MOST_ROWS)})


def _stays_open(subject: Subject) -> int:
    """Tokens of a document that a diary does not take down before the document ends; without a diary any number."""
    model = subject.model
    return model.contexts.spec.open_length if isinstance(model, CortexGPT) and model.contexts is not None else ENDLESS


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
        OUTPUT: largest_difference(first.logits, second.logits),
        **changes_of(before, written),
    }
    carried = changes_of(_named("memory", start.tensors()), _named("memory", again.tensors()))
    changes |= {name: max(changes.get(name, 0.0), change) for name, change in carried.items()}
    return unchanged(changes, case)


def unchanged(changes: Mapping[str, float], case: Case) -> Finding:
    """The finding on what a second call gave and what an evaluation call changed."""
    changed = [name for name, change in changes.items() if change]
    if not changed:
        return Finding(0.0, "two evaluation calls gave the same output and changed nothing", case)
    shown = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
    reason = f"an evaluation call changed {shown}"
    if changed == [OUTPUT]:
        reason += ": something is kept between calls, or drawn at random"
    return Finding(max(changes.values()), reason, {**case, "changed": changed[0]})


def changes_of(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, float]:
    """How far each tensor moved, by name; inf for one that only one side has."""
    return {name: _change(before.get(name), after.get(name)) for name in [*before, *(after.keys() - before.keys())]}


def _surroundings(model: Model) -> dict[str, Tensor]:
    """Copies of everything that a call could change behind the caller's back."""
    everything = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {**_named("model", everything), "torch's random state": torch.get_rng_state()}


def _named(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix} {name}": tensor.detach().clone() for name, tensor in tensors.items()}


def _change(before: Tensor | None, after: Tensor | None) -> float:
    return float("inf") if before is None or after is None else largest_difference(before, after)


REPEATABILITY = (Property("repeatability", repeatability, repeatability_cases, repeatability_strategy),)
