"""Tiny runs that sleep, and what is compared between two of them."""

from pathlib import Path
from typing import Any

from torch import Tensor

from cortexzoo.specs.sleep import AcceptAlways, Dreaming, GeneratedSleep, NoiseSleep, ReplaySleep
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Policy, Step, find_policy
from cortexzoo.zoo.training.recorder import WALL_CLOCK_METRICS
from cortexzoo.zoo.training.sleep.policy import Sleep
from cortexzoo.zoo.training.state.moments import optimizer_tensors
from tests.zoo.training.tiny import Notebook, TinyModel, tiny_data, tiny_model, tiny_spec

SHORT: dict[str, Any] = {"every": 4, "steps": 3, "batch_size": 2, "learning_rate": 1e-3, "reservoir": 5}
KINDS: list[Dreaming] = [
    NoiseSleep(**SHORT, length=6, acceptance=AcceptAlways()),
    ReplaySleep(**SHORT, kl_weight=0.5, ewc_weight=2.0),
    GeneratedSleep(**SHORT, length=6, prompt_length=2, kl_weight=1.0),
]
NOISE, REPLAY, GENERATED = KINDS


def sleeper(
    spec: Dreaming, *policies: Policy, model: TinyModel | None = None, folder: Path | None = None, **recipe: Any
) -> TrainingLoop:
    """A trainer that sleeps; `policies` see every step first."""
    experiment = tiny_spec(**{"sleep": spec, **recipe})
    trainer = TrainingLoop(model or tiny_model(), experiment, tiny_data(), recorder=Notebook(), checkpoints=folder)
    trainer.policies[:0] = policies
    return trainer


def sleep_of(trainer: TrainingLoop) -> Sleep:
    """Its policy."""
    assert find_policy(trainer.policies, Sleep) is not None
    return find_policy(trainer.policies, Sleep)


def notes(trainer: TrainingLoop) -> Notebook:
    """What it recorded."""
    assert isinstance(trainer.recorder, Notebook)
    return trainer.recorder


def everything(trainer: TrainingLoop) -> dict[str, Tensor]:
    """Copies of all tensors that training goes on with."""
    named = {**trainer.model.state_dict(), **optimizer_tensors(trainer)}
    named |= {f"memory {name}": tensor for name, tensor in trainer.memory.tensors().items()}
    named |= {f"random {name}": tensor for name, tensor in trainer.random_state().items()}
    for policy in trainer.policies:
        named |= {f"{policy.name} {name}": tensor for name, tensor in policy.tensors().items()}
    return {name: tensor.clone() for name, tensor in named.items()}


def states(trainer: TrainingLoop) -> dict[str, Any]:
    """What every policy remembers, measured seconds and the places of saves apart."""
    return {p.name: p.state_dict() for p in trainer.policies if p.name not in ("telemetry", "checkpoints")}


def recorded(*trainers: TrainingLoop) -> dict[int, dict[str, float]]:
    """All metrics by step but those of the clock."""
    rows = [row for trainer in trainers for row in notes(trainer).rows]
    return {step: {n: v for n, v in values.items() if n not in WALL_CLOCK_METRICS} for step, values in rows}


class Around(Policy):
    """Looks at the trainer right before and right after its sleep policy, and remembers what changed."""

    def __init__(self, trainer: TrainingLoop) -> None:
        self.name = "around"
        self.before: dict[str, Tensor] = {}
        self.changed: dict[int, set[str]] = {}
        place = trainer.policies.index(sleep_of(trainer))
        first = Policy()
        first.name = "before the sleep"
        first.step_taken = self._look  # type: ignore[method-assign]
        trainer.policies[place : place + 1] = [first, sleep_of(trainer), self]

    def _look(self, trainer: TrainingLoop, step: Step) -> None:
        self.before = everything(trainer)

    def step_taken(self, trainer: TrainingLoop, step: Step) -> None:
        now = everything(trainer)
        differing = {n for n in now if n not in self.before or not now[n].equal(self.before[n])}
        self.changed[step.number] = differing | set(self.before) - set(now)
