"""Observing a training through its public doors: as a policy, as a recorder, and as hooks on the model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from cortexzoo.harness.checking.training.roles import LENGTH, text_of_roles
from cortexzoo.harness.checking.training.surroundings import Generators
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.backbone import PRETRAINED
from cortexzoo.specs.data import TextSpec
from cortexzoo.specs.guards import NoRecovery, NoSpikeDetection
from cortexzoo.specs.objective import Continual, NextToken, NoInChunkGuard, Recall
from cortexzoo.specs.parallel import OneProcess
from cortexzoo.specs.plasticity import NoHomeostasis
from cortexzoo.specs.recipe import Never, RecipeSpec
from cortexzoo.specs.sleep import NoSleep
from cortexzoo.specs.task import TaskSpec
from cortexzoo.specs.tuned import AllWeights, TunedSpec
from cortexzoo.specs.variant import TransformerSpec, backbone_of
from cortexzoo.zoo.build import build_model, load_data
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer

NEVER = 10_000
TINY = TransformerSpec(name="tiny", hidden_size=8, num_layers=1, num_heads=1, intermediate_size=8)
Fate = Literal["refuse", "roll_back"]


@dataclass
class Served:
    """What one step was given, and where the random numbers were when it began."""

    number: int
    tokens: Tensor
    """[accumulation, rows, T + 1]."""
    scored: Tensor | None
    random_state: Generators
    places: Tensor | None = None
    """[accumulation, rows]: where each row is said to stand in all text that is trained on."""


@dataclass
class Record:
    """A recorder: metrics by step, and events in their order."""

    steps: dict[int, dict[str, float]] = field(default_factory=dict)
    events: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.steps[step] = {name: float(value) for name, value in values.items()}

    def event(self, step: int, kind: str, detail: Mapping[str, object]) -> None:
        self.events.append((step, kind, dict(detail)))

    def at(self, kind: str) -> list[int]:
        """The steps of all events of a kind."""
        return [step for step, found, _ in self.events if found == kind]

    def with_metric(self, name: str) -> dict[int, float]:
        """A metric by the steps that have it."""
        return {step: values[name] for step, values in self.steps.items() if name in values}


class Witness(Policy):
    """Copies what each step is given; refuses or rolls back the steps of a script, each once, when their loss is known.

    Gradients are multiplied by the scales, which begin again after the last, so that clipping meets norms of all sizes.
    """

    name = "harness_witness"

    def __init__(self, script: Mapping[int, Fate] | None = None, scales: Sequence[float] = (1.0,)) -> None:
        self.script, self.scales = dict(script or {}), scales
        self.served: list[Served] = []

    def batch_ready(self, trainer: Trainer, step: Step) -> None:
        assert step.tokens is not None
        scored = None if step.scored is None else step.scored.clone()
        self.served.append(
            Served(step.number, step.tokens.clone(), scored, Generators.now(trainer.device), step.places)
        )

    def loss_known(self, trainer: Trainer, step: Step) -> None:
        fate = self.script.pop(step.number, None)
        if fate == "refuse":
            step.refuse("refused by the harness")
        elif fate == "roll_back":
            step.roll_back("rolled back by the harness")

    def gradients_ready(self, trainer: Trainer, step: Step) -> None:
        for parameter in trainer.trainable:
            if parameter.grad is not None:
                parameter.grad.mul_(self.scale(step.number))

    def scale(self, number: int) -> float:
        """Of the gradients of a step."""
        return self.scales[number % len(self.scales)]


class Bounded(Policy):
    """Ends a training that attempts far more steps than its recipe has, such as one that repeats a step for ever."""

    name = "harness_bound"

    def __init__(self, steps: int) -> None:
        self.left = 3 * steps

    def batch_ready(self, trainer: Trainer, step: Step) -> None:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("it attempts more than three times its steps")


class StopAt(Policy):
    """Ends the run after one step, as a signal would."""

    name = "harness_stop"

    def __init__(self, step: int) -> None:
        self.step = step

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        if step.number == self.step:
            trainer.stop("interrupted")

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        self.step_taken(trainer, step)


class OneAsleep(Policy):
    """Puts one module, the first without children, into evaluation mode before the first step."""

    name = "harness_one_asleep"

    def __init__(self) -> None:
        self.awake: list[int] = []
        """Steps before which it was in training mode again."""
        self._module = nn.Module()

    def batch_ready(self, trainer: Trainer, step: Step) -> None:
        if step.number == 1:
            self._module = next(module for module in trainer.model.modules() if not list(module.children())).eval()
        elif self._module.training:
            self.awake.append(step.number)


class Look(Policy):
    """Calls a function with trainer and step once a step is over and everything about it is recorded."""

    name = "harness_look"

    def __init__(self, look: Any) -> None:
        self.look = look

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        self.look(trainer, step)

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        self.look(trainer, step)


def brief(experiment: ExperimentSpec, steps: int, **changes: Any) -> ExperimentSpec:
    """The experiment for a few small steps that nothing interrupts, with further changes to its recipe.

    Variant, optimiser, schedule, clipping and precision are its own. Nothing is measured, consolidated or saved, no
    step is a spike, there is no sleep, no homeostasis and one process, unless `changes` bring them back. Of several
    texts the last is trained on.
    """
    recipe = experiment.recipe
    quiet = {"probe_every": NEVER, "validate_every": NEVER, "validation_sequences": None, "checkpoint_every": NEVER}
    small: dict[str, Any] = {
        "steps": steps, "batch_size": 2, "sequence_length": LENGTH, "accumulation": 1, "spikes": NoSpikeDetection(),
        "recovery": NoRecovery(), "sleep": NoSleep(), "consolidation": Never(), "parallel": OneProcess(),
        "homeostasis": NoHomeostasis(),
        "monitor": recipe.monitor.model_copy(update=quiet),
    }  # fmt: skip
    recipe = of_one_text(recipe).model_copy(update={**small, **changes})
    return _of_short_documents(experiment.model_copy(update={"recipe": recipe}))


def of_one_text(recipe: RecipeSpec) -> RecipeSpec:
    """The recipe without a text that comes before the experiment's own."""
    is_continual = isinstance(recipe.objective, Continual)
    return recipe.model_copy(update={"objective": NextToken()}) if is_continual else recipe


def in_float32(experiment: ExperimentSpec) -> ExperimentSpec:
    """The experiment with nothing in half precision, the weights of a frozen base included.

    For what is compared to the last bits of float32, of which half precision makes much.
    """
    variant, backbone = experiment.variant, backbone_of(experiment.variant)
    if isinstance(backbone, PRETRAINED):
        variant = variant.model_copy(update={"backbone": backbone.model_copy(update={"dtype": "float32"})})
    recipe = experiment.recipe.model_copy(update={"precision": "fp32"})
    return experiment.model_copy(update={"variant": variant, "recipe": recipe})


def trains_in_half(experiment: ExperimentSpec) -> bool:
    """Whether the weights that are trained are those of a base in half precision, and so are their gradients."""
    variant = experiment.variant
    in_full = isinstance(variant, TunedSpec) and isinstance(variant.method, AllWeights)
    return in_full and getattr(backbone_of(variant), "dtype", "float32") != "float32"


def on_a_tiny_model(experiment: ExperimentSpec) -> ExperimentSpec:
    """The experiment with the least transformer on a text, for what does not depend on the model."""
    recipe = experiment.recipe.model_copy(update={"objective": NextToken(), "homeostasis": NoHomeostasis()})
    return experiment.model_copy(update={"variant": TINY, "data": TextSpec(name="tiny"), "recipe": recipe})


def measured(experiment: ExperimentSpec, **changes: Any) -> ExperimentSpec:
    """The experiment with changes to what its recipe measures, and how often."""
    monitor = experiment.recipe.monitor.model_copy(update=changes)
    return experiment.model_copy(update={"recipe": experiment.recipe.model_copy(update={"monitor": monitor})})


def data_of(experiment: ExperimentSpec) -> TextData | TaskData:
    """The text of roles, or the experiment's own task."""
    return load_data(experiment) if isinstance(experiment.data, TaskSpec) else text_of_roles(_vocabulary(experiment))


def trainer_of(
    experiment: ExperimentSpec, record: Record, *policies: Policy, checkpoints: Path | None = None
) -> TrainingLoop:
    """A trainer of a fresh model on `data_of` the experiment."""
    model = build_model(experiment.variant, experiment.seed)
    data = data_of(experiment)
    further = (Bounded(experiment.recipe.steps), *policies)
    return TrainingLoop(model, experiment, data, recorder=record, checkpoints=checkpoints, policies=further)


def append(trainer: TrainingLoop, policies: Iterable[Policy]) -> None:
    """Let further policies act after all others, when a step is recorded and its checkpoints are written."""
    trainer.policies.extend(policies)


def _vocabulary(experiment: ExperimentSpec) -> int:
    return experiment.variant.vocab_size


def _of_short_documents(experiment: ExperimentSpec) -> ExperimentSpec:
    recipe, data = experiment.recipe, experiment.data
    if not (isinstance(recipe.objective, Recall) and isinstance(data, TaskSpec)):
        plain = recipe.model_copy(update={"objective": NextToken()})
        return experiment.model_copy(update={"recipe": plain})
    few = {"gaps": (0, 1), "tokens_per_step": 1, "samples_per_gap": 64, "promote_at": None}
    stage = recipe.objective.stages[0].model_copy(update=few)
    drift = recipe.objective.drift.model_copy(update={"sequences": 2})
    objective = recipe.objective.model_copy(
        update={"stages": (stage,), "drift": drift, "in_chunk": NoInChunkGuard(), "bptt_chunks": None}
    )
    asked = data.model_copy(update={"gaps": (1,), "evaluation_documents": 2})
    return experiment.model_copy(update={"recipe": recipe.model_copy(update={"objective": objective}), "data": asked})
