"""What must be equal before losses may be compared: the text, its order, how much of it is seen, what is held out."""

from collections.abc import Callable, Sequence
from typing import Any

from harness.comparison.entrants import Entrant, Incomparable
from harness.comparison.reading import Record
from specs import ExperimentSpec
from specs.base import without_documentation

ALLOW = "--allow-different"

FACTS: dict[str, Callable[[ExperimentSpec], Any]] = {
    "data": lambda e: {k: v for k, v in without_documentation(e.data.model_dump(mode="json")).items() if k != "name"},
    "steps": lambda e: e.recipe.steps,
    "sequences a step": lambda e: f"{e.recipe.accumulation} × {e.recipe.batch_size}",
    "sequence length": lambda e: e.recipe.sequence_length,
    "held-out sequences": lambda e: e.recipe.monitor.validation_sequences or "all",
}
"""By the word for it: what decides which text a run sees, in which order, and on which it is measured."""


def differences(entrants: Sequence[Entrant]) -> list[str]:
    """What is not equal, one phrase each, as in `steps differ (500 for a, 300 for b)`."""
    found = [
        _phrase(name, {entrant.label: fact(entrant.experiment) for entrant in entrants})
        for name, fact in FACTS.items()
        if len({str(fact(entrant.experiment)) for entrant in entrants}) > 1
    ]
    if len({entrant.seeds for entrant in entrants}) > 1:
        seeds = {entrant.label: ", ".join(map(str, entrant.seeds)) for entrant in entrants}
        found.append(_phrase("seeds", seeds) + ", so the data come in another order")
    return found


def text_differences(records: Sequence[Sequence[Record]], labels: Sequence[str]) -> list[str]:
    """As `differences`, for the text that runs were really trained on: a file may have changed since."""
    sums = {
        label: ", ".join(sorted({str(record.manifest.get("data_sha256"))[:12] for record in side}))
        for label, side in zip(labels, records, strict=True)
    }
    return [_phrase("texts", sums)] if len(set(sums.values())) > 1 else []


def require_equal(found: Sequence[str], allowed: bool) -> None:
    """Raises `Incomparable` unless nothing differs or the user allows it."""
    if found and not allowed:
        raise Incomparable(f"not compared: {'; '.join(found)} ({ALLOW} compares all the same)")


def _phrase(name: str, values: dict[str, Any]) -> str:
    verb = "differs" if name == "sequence length" else "differ"
    return f"{name} {verb} ({', '.join(f'{value} for {label}' for label, value in values.items())})"
