"""What each ingredient of an experiment is worth: every one is switched off in turn, found by walking the spec.

An ingredient can be switched off where its type has a neutral value: a tagged union with a kind `none` or `never`, a
choice with `none` among its values, a number that may be 0, a switch that is on, a field that names its `Neutral`
value. A tagged union without a neutral kind (the gate, the sparsity, the schedule) is exchanged for each of its other
kinds instead.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, get_args

from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.studies.multi_seed import AllSeeds, train_counted, trained
from cortexzoo.specs import ExperimentSpec, Spec, SpecError, load_experiment
from cortexzoo.specs.backbone import BackboneSpec
from cortexzoo.specs.base import Neutral
from cortexzoo.specs.loading.slots import Slot, field_slots
from cortexzoo.specs.objective import Continual, DriftSpec, NextToken, Recall
from cortexzoo.specs.parallel import ParallelSpec
from cortexzoo.specs.recipe import MonitorSpec

NEUTRAL_KINDS = ("none", "never")
PARTS = ("variant", "recipe")
"""The parts of an experiment with ingredients; data and suite have none."""
NO_INGREDIENTS = (
    MonitorSpec,
    DriftSpec,
    *(kind for union in (BackboneSpec, ParallelSpec) for kind in get_args(get_args(union)[0])),
)
"""What is only measured, the base that a hybrid is given, and how processes share the work."""


@dataclass(frozen=True)
class Ingredient:
    """One value of a spec, and what it is set to."""

    path: str
    value: str
    """What stands there, in short."""
    off: str
    overrides: tuple[str, ...]
    with_it: tuple[str, ...] = ()
    """Other ingredients that cannot stay without this one, and are switched off together with it."""

    @property
    def label(self) -> str:
        """`recipe.clipping: norm → none`."""
        besides = f" (with {', '.join(self.with_it)})" if self.with_it else ""
        return f"{self.path}: {self.value} → {self.off}{besides}"


def ingredients(experiment: ExperimentSpec) -> list[Ingredient]:
    """Everything in the model and its recipe that can be switched off, in the order of the spec."""
    slots = field_slots(ExperimentSpec)
    return list(chain.from_iterable(_of_value(part, getattr(experiment, part), slots[part]) for part in PARTS))


def _of_value(path: str, value: Any, slot: Slot) -> Iterator[Ingredient]:
    if isinstance(value, NO_INGREDIENTS):
        return
    if isinstance(value, Spec):
        if not isinstance(value, NextToken | Recall | Continual):  # the data decides between them
            yield from _exchanged(path, value, slot)
        for name, inner in field_slots(type(value)).items():
            if name != slot.tag_key:
                yield from _of_value(f"{path}.{name}", getattr(value, name), inner)
        return
    off = _off(value, slot)
    if off is not None and off != value:
        text = json.dumps(off) if not isinstance(off, str) else off
        yield Ingredient(path, _shown(value), _shown(off), (f"{path}={text}",))


def _exchanged(path: str, value: Spec, slot: Slot) -> Iterator[Ingredient]:
    """A tagged union: its neutral kind or, where it has none, every other kind."""
    kinds = list(slot.classes())
    if slot.tag_key is None or slot.tag_key == "family":
        return
    here = str(getattr(value, slot.tag_key))
    neutral = [kind for kind in kinds if kind in NEUTRAL_KINDS]
    for kind in neutral or kinds:
        if kind != here and here not in neutral:
            yield Ingredient(path, here, kind, (f"{path}={{{slot.tag_key}: {kind}}}",))


def _off(value: Any, slot: Slot) -> Any:
    """The value at which a scalar does nothing. None: its type names none."""
    for mark in slot.metadata:
        if isinstance(mark, Neutral):
            return mark.value
    if value is True:
        return False
    if isinstance(value, str) and "none" in slot.choices():
        return "none"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and any(getattr(mark, "ge", None) == 0 for mark in slot.metadata):
        return type(value)(0)
    return None


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def without(spec: str, overrides: Sequence[str], ingredient: Ingredient, all_of_them: Sequence[Ingredient]
            ) -> tuple[Ingredient, ExperimentSpec]:  # fmt: skip
    """The experiment without `ingredient`; where others cannot stay then, without the first that lets it be loaded.

    Raises `SpecError` when there is none.
    """
    try:
        return ingredient, load_experiment(spec, (*overrides, *ingredient.overrides))
    except SpecError as error:
        for other in all_of_them:
            both = (*ingredient.overrides, *other.overrides)
            if other.path == ingredient.path:
                continue
            try:
                experiment = load_experiment(spec, (*overrides, *both))
            except SpecError:
                continue
            return Ingredient(ingredient.path, ingredient.value, ingredient.off, both, (other.path,)), experiment
        raise error


@dataclass(frozen=True)
class Worth(AllSeeds):
    """The runs with everything, or without one ingredient."""

    label: str
    gate_shares: tuple[float, ...]
    """The smallest mean share of a live source, each seed; empty: no gate, or training gave up."""

    def as_json(self) -> dict[str, Any]:
        """As the table shows it."""
        return {
            "without": self.label,
            "final_loss": self.final_loss,
            "loss_ratio": self.loss_ratio,
            "smallest_gate_share": min(self.gate_shares, default=None),
            "ended": [run.ended for run in self.runs],
        }


def ablate(
    spec: str, overrides: Sequence[str], seeds: int, runs: Path, jobs: int, only: Sequence[str],
    done: Callable[[int, int], None],
) -> list[Worth]:  # fmt: skip
    """Train with everything, then without each ingredient; the first entry is the whole.

    `only`: paths of the ingredients to try, or beginnings of them; none: all. Raises `SpecError`.
    """
    found = ingredients(load_experiment(spec, overrides))
    if unknown := [path for path in only if not any(each.path.startswith(path) for each in found)]:
        known = ", ".join(dict.fromkeys(each.path for each in found))
        raise SpecError([f"--only {path}: no such ingredient; there are: {known}" for path in unknown])
    wanted = [each for each in found if not only or any(each.path.startswith(path) for path in only)]
    cells: dict[str, tuple[str, ...]] = {"nothing": ()}
    for each in wanted:
        switched, _ = without(spec, overrides, each, found)
        cells[switched.label] = switched.overrides
    grid = {
        label: [load_experiment(spec, (*overrides, *changes, f"seed={seed}")) for seed in range(seeds)]
        for label, changes in cells.items()
    }
    everything = [experiment for experiments in grid.values() for experiment in experiments]
    trained_runs = train_counted(everything, runs, jobs, done, accept_stopped=True)
    return [_worth(label, [trained_runs[e.hash()] for e in experiments]) for label, experiments in grid.items()]


def _worth(label: str, runs: Sequence[Run]) -> Worth:
    shares = [min(run.summary["gate_shares"].values()) for run in runs if run.summary.get("gate_shares")]
    return Worth(tuple(trained(run, seed) for seed, run in enumerate(runs)), label, tuple(shares))
