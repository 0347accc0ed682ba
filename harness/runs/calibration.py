"""How long an experiment will train on this machine: a few real steps of the real trainer, and nothing left behind."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

import torch

from cortexzoo.harness.runs.memory import require_memory
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.objective import Recall
from cortexzoo.specs.recipe import AtRandom, EveryInterval, RecipeSpec
from cortexzoo.specs.task import TaskSpec
from cortexzoo.zoo.build import build_trainer
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.signals import signals_left_alone

WARM = 2
"""Steps that are not timed: the first ones allocate memory."""
TIMED = 8
"""At least so many are, and whole rounds of the probe."""


@dataclass(frozen=True)
class Calibration:
    """What was timed, in seconds, and what follows for the whole run."""

    start: float
    """Reading the data, building the model."""
    step: float
    """One optimiser step, with its share of the probe."""
    validation: float
    steps: int
    validations: int
    threads: int
    device: str
    timed: int
    is_bound: bool = False
    """Steps differ in length, and those of the last stage were timed, which are the longest; no recall at the end."""

    @property
    def total(self) -> float:
        """Of training; checkpoints, curves and the check of the properties come on top."""
        return self.start + self.steps * self.step + self.validations * self.validation

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "total": self.total}


class _Clock:
    """A recorder that only notes when each step was recorded, which is after its probe and its validation."""

    def __init__(self) -> None:
        self.stamps: list[float] = []

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.stamps.append(time.perf_counter())

    def event(self, step: int, kind: str, detail: Mapping[str, object]) -> None:
        pass


def calibrate(experiment: ExperimentSpec) -> Calibration:
    """Time some steps and one validation of `experiment`, its long-term memory as full as it will be halfway.

    Raises what building a trainer and training raise: `DataError`, `BackboneError`, `SetupError`, `TrainingError`.
    """
    require_memory(experiment, warn=lambda line: None)  # `show` has printed it
    recipe = experiment.recipe
    monitor = recipe.monitor
    timed = -(-TIMED // monitor.probe_every) * monitor.probe_every
    steps = WARM + timed + 1  # the last one is also validated
    short = recipe.model_copy(update={"steps": steps, "monitor": monitor.model_copy(update={"validate_every": steps})})
    clock = _Clock()
    began = time.perf_counter()
    trainer = build_trainer(_longest_steps(experiment.model_copy(update={"recipe": short})), recorder=clock)
    start = time.perf_counter() - began
    _fill_halfway(trainer, recipe)
    with signals_left_alone():
        trainer.run()
    spans = [after - before for before, after in pairwise(clock.stamps)]
    step = fmean(spans[WARM - 1 : WARM - 1 + timed])
    return Calibration(
        start=start,
        step=step,
        validation=max(spans[-1] - step, 0.0),
        steps=recipe.steps,
        validations=-(-recipe.steps // monitor.validate_every),
        threads=torch.get_num_threads(),
        device=trainer.device.type,
        timed=timed,
        is_bound=isinstance(recipe.objective, Recall),
    )


def _longest_steps(experiment: ExperimentSpec) -> ExperimentSpec:
    """Of a curriculum its last stage alone, and almost no evaluation at the end."""
    recipe, data = experiment.recipe, experiment.data
    if not isinstance(recipe.objective, Recall) or not isinstance(data, TaskSpec):
        return experiment
    objective = recipe.objective.model_copy(update={"stages": recipe.objective.stages[-1:]})
    least = {"evaluation_documents": 1, "gaps": (min(data.gaps),)}
    return experiment.model_copy(
        update={
            "recipe": recipe.model_copy(update={"objective": objective}),
            "data": data.model_copy(update=least),
        }
    )


def _fill_halfway(trainer: TrainingLoop, recipe: RecipeSpec) -> None:
    """Consolidate half as often as the run will: reading a long-term memory costs more the fuller it is."""
    model, rows = trainer.model, trainer.ranks.rows
    tokens = torch.randint(
        model.vocab_size, (rows, recipe.sequence_length), generator=torch.Generator().manual_seed(trainer.spec.seed)
    )
    with torch.no_grad():
        state = model(tokens.to(trainer.device), model.between_batches(trainer.memory, rows)).state
        for _ in range(_consolidations(recipe) // 2):
            state = model.consolidate(state)
    trainer.memory = state


def _consolidations(recipe: RecipeSpec) -> int:
    match recipe.consolidation:
        case EveryInterval(every=every):
            return recipe.steps // every
        case AtRandom(probability=probability):
            return round(recipe.steps * probability)
        case _:
            return 0
