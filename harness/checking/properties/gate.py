"""The gate of a trained memory: every source that is not empty keeps its share."""

from collections import defaultdict
from collections.abc import Mapping

import torch

from cortexzoo.harness.checking.properties.base import Case, DoesNotApply, Finding, Property, once
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.specs.memory import NoLongTerm, SigmoidGate
from cortexzoo.specs.metrics import GATE_SHARE
from cortexzoo.specs.properties import PROPERTIES
from cortexzoo.specs.recipe import EveryInterval, Never
from cortexzoo.specs.variant import CortexGPTSpec

MEMORY_OF_SOURCE = {"long_term": "ltm"}
"""Sources that can be empty during a whole batch, and the memory that fills them."""
BATCHES = 4


@torch.no_grad()
def gate_balance(subject: Subject, case: Case) -> Finding:
    """Mean share of each live source over held-out data, in evaluation mode; the smallest is checked against the bound.

    Of a task that is its documents: on plain text a memory that is asked for nothing may keep still.
    """
    model, recipe = subject.copy(), subject.experiment.recipe
    rows = BATCHES * recipe.batch_size
    if subject.task is None:
        sequences = subject.sequences(rows, recipe.sequence_length)
    else:
        sequences = subject.task.batch("validation", range(rows), subject.task.spec.gaps[0]).inputs
    totals: defaultdict[str, float] = defaultdict(float)
    for tokens in sequences.split(recipe.batch_size):
        for name, value in model(tokens, subject.start(model, len(tokens))).readings.items():
            if name.startswith(GATE_SHARE):
                totals[name.removeprefix(GATE_SHARE)] += float(value) / BATCHES
    if not totals:
        raise DoesNotApply("the variant has no gate")
    sizes = subject.start(model, recipe.batch_size).sizes()
    empty = {source for source, memory in MEMORY_OF_SOURCE.items() if not sizes.get(memory, 0)}
    live = {source: share for source, share in totals.items() if source not in empty}
    if len(live) < 2:
        raise DoesNotApply(
            (f"only {', '.join(live)} has entries" if live else "no source has entries") + _missing(subject, empty)
        )
    return least_share(live, case, _held_up(subject) + _missing(subject, empty))


def least_share(shares: Mapping[str, float], case: Case, remark: str = "") -> Finding:
    """The finding on the smallest mean share of the sources."""
    least = min(shares, key=lambda source: shares[source])
    named = ", ".join(f"{source} {share:.3f}" for source, share in shares.items())
    return Finding(shares[least], f"mean shares {named}{remark}", {**case, "source": least})


def _held_up(subject: Subject) -> str:
    """A remark where a floor under the gate decides the verdict, and not what the model learned."""
    variant = subject.experiment.variant
    gate = variant.memory.gate if isinstance(variant, CortexGPTSpec) else None
    floor = gate.floor if isinstance(gate, SigmoidGate) else 0.0
    if floor < PROPERTIES["gate_balance"].bound:
        return ""
    return f"; the gate's floor of {floor:g} keeps every share up, whatever the model learned"


def _missing(subject: Subject, empty: set[str]) -> str:
    """A remark when long-term memory is empty although variant and recipe meant to fill it."""
    variant, recipe = subject.experiment.variant, subject.experiment.recipe
    if "long_term" not in empty or isinstance(recipe.consolidation, Never):
        return ""
    if not isinstance(variant, CortexGPTSpec) or isinstance(variant.memory.long_term, NoLongTerm):
        return ""
    if isinstance(recipe.consolidation, EveryInterval) and recipe.consolidation.every > recipe.steps:
        return f"; long-term memory is empty: its first consolidation would be at step {recipe.consolidation.every}"
    return "; long-term memory is empty although the recipe consolidates"


GATE = (Property("gate_balance", gate_balance, once),)
