"""What must be equal before losses may be compared: the text, its order, how much of it is seen, what is held out."""

from collections.abc import Callable, Sequence
from typing import Any

from cortexzoo.harness.runs.spec_changes import flattened
from cortexzoo.harness.studies.comparison.contenders import Contender, Incomparable
from cortexzoo.harness.studies.comparison.differences import ABSENT
from cortexzoo.harness.studies.comparison.reading import Record
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.base import without_documentation
from cortexzoo.specs.objective import ObjectiveSpec, Recall

ALLOW = "--allow-different"
DATA_SHOWN = 3
"""Of values that differ between data; the number of the others is shown."""

FACTS: dict[str, Callable[[ExperimentSpec], Any]] = {
    "steps": lambda e: e.recipe.steps,
    "sequences a step": lambda e: f"{e.recipe.accumulation} × {e.recipe.batch_size}",
    "sequence length": lambda e: e.recipe.sequence_length,
    "held-out sequences": lambda e: e.recipe.monitor.validation_sequences or "all",
    "stages": lambda e: _stages(e.recipe.objective),
}
"""By the word for it: what decides which text a run sees, in which order, and on which it is measured."""


def differences(contenders: Sequence[Contender]) -> list[str]:
    """What is not equal, one phrase each, as in `steps differ (500 for a, 300 for b)`."""
    found = _data_differences(contenders)
    found += [
        _phrase(name, {contender.label: fact(contender.experiment) for contender in contenders})
        for name, fact in FACTS.items()
        if len({str(fact(contender.experiment)) for contender in contenders}) > 1
    ]
    if len({contender.seeds for contender in contenders}) > 1:
        seeds = {contender.label: ", ".join(map(str, contender.seeds)) for contender in contenders}
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
        raise Incomparable(f"not compared: {'; '.join(found)} ({ALLOW} compares anyway)")


def _stages(objective: ObjectiveSpec) -> str:
    """A curriculum decides the gaps of the documents, how many a step has, and the gaps that are held out."""
    if not isinstance(objective, Recall):
        return "none"
    return ", then ".join(f"gaps {list(stage.gaps)} in {stage.tokens_per_step} tokens" for stage in objective.stages)


def _data_differences(contenders: Sequence[Contender]) -> list[str]:
    """Of data of one family the values that differ, by path; of several families their names."""
    data = {contender.label: contender.experiment.data for contender in contenders}
    if len({spec.family for spec in data.values()}) > 1:
        return [_phrase("data", {label: spec.name for label, spec in data.items()})]
    flat = {label: flattened(without_documentation(spec.model_dump(mode="json"))) for label, spec in data.items()}
    paths = dict.fromkeys(path for values in flat.values() for path in values if path != "name")
    by_path = {path: {label: values.get(path, ABSENT) for label, values in flat.items()} for path in paths}
    found = [
        _phrase(f"data.{path}", values) for path, values in by_path.items() if len(set(map(str, values.values()))) > 1
    ]
    more = len(found) - DATA_SHOWN
    return found if more <= 0 else [*found[:DATA_SHOWN], f"{more} more values of the data differ"]


def _phrase(name: str, values: dict[str, Any]) -> str:
    verb = "differs" if name == "sequence length" or "." in name else "differ"
    return f"{name} {verb} ({', '.join(f'{value} for {label}' for label, value in values.items())})"
