"""Held-out examples at regular steps, and which step did best on them."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer


class Validation(Policy):
    """Measures the held-out loss every `every` steps and after the last one."""

    name = "validation"

    def __init__(self, every: int, steps: int) -> None:
        self.every = every
        self.steps = steps
        self.loss: float | None = None
        self.best_loss: float | None = None
        self.best_step: int | None = None
        self.gate_shares: dict[str, float] = {}

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        if step.number % self.every == 0 or step.number == self.steps:
            self._validate(trainer, step)

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        self.step_taken(trainer, step)

    def results(self) -> dict[str, Any]:
        return {
            "validation_loss": self.loss,
            "best_validation_loss": self.best_loss,
            "best_step": self.best_step,
            "gate_shares": self.gate_shares,
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "loss": self.loss,
            "best_loss": self.best_loss,
            "best_step": self.best_step,
            "gate_shares": self.gate_shares,
        }

    def load_state(self, trainer: Trainer, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.loss, self.best_loss, self.best_step = values["loss"], values["best_loss"], values["best_step"]
        self.gate_shares = dict(values["gate_shares"])

    def _validate(self, trainer: Trainer, step: Step) -> None:
        score = step.held_out or trainer.objective.held_out(trainer)
        self.loss, self.gate_shares = score.loss, score.gate_shares
        step.metrics["validation/loss"] = score.loss
        if score.recall is not None:
            step.metrics["validation/recall"] = score.recall
        step.metrics |= score.metrics
        if math.isfinite(score.loss) and (self.best_loss is None or score.loss < self.best_loss):
            self.best_loss, self.best_step = score.loss, step.number
