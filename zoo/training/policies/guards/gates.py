"""Gates: a batch that the model cannot take, and numbers that are not finite, go no further."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from cortexzoo.zoo.errors import TrainingStopped
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer

MAX_REFUSALS = 8
"""Non-finite refusals in a row after which training is given up. Source: a choice of this project."""


class BatchGate(Policy):
    """Refuses a batch without a token, or with a number outside the vocabulary (on a GPU it would end the process)."""

    name = "batch_gate"

    def batch_ready(self, trainer: Trainer, step: Step) -> None:
        assert step.tokens is not None
        if step.tokens.numel() == 0:
            step.refuse("the batch is empty")
            return
        low, high = torch.stack(step.tokens.aminmax()).tolist()
        last = trainer.model.vocab_size - 1
        if low < 0 or high > last:
            step.refuse(f"token {low if low < 0 else high} in the batch is outside the vocabulary, 0 to {last}")


class FiniteGate(Policy):
    """Refuses a step whose loss or gradient norm is not finite.

    After `MAX_REFUSALS` in a row it requests a rollback, if there is something to return to; after as many more,
    with no taken step in between, training stops. Steps that another policy refused neither add to the row nor end it.
    """

    name = "finite_gate"

    def __init__(self, may_roll_back: bool = False) -> None:
        self.may_roll_back = may_roll_back
        self.refused = 0
        self.in_a_row = 0
        self.has_rolled_back = False
        """Since the last taken step."""
        self._cause: str | None = None

    def batch_ready(self, trainer: Trainer, step: Step) -> None:
        self._cause = None

    def loss_known(self, trainer: Trainer, step: Step) -> None:
        self._look_at("loss", step.loss, step)

    def gradients_known(self, trainer: Trainer, step: Step) -> None:
        self._look_at("gradient norm", step.gradient_norm, step)

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        self.in_a_row = 0
        self.has_rolled_back = False
        step.metrics["stability/nonfinite_steps"] = self.refused

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        if self._cause is not None:
            self.refused += 1
            self.in_a_row += 1
            if self.in_a_row >= MAX_REFUSALS:
                self._give_in(trainer, step, f"{self._cause} ({self.in_a_row} refused steps in a row)")
        step.metrics["stability/nonfinite_steps"] = self.refused

    def state_dict(self) -> dict[str, Any]:
        return {"refused": self.refused, "in_a_row": self.in_a_row, "has_rolled_back": self.has_rolled_back}

    def load_state(self, trainer: Trainer, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.refused, self.in_a_row = values["refused"], values["in_a_row"]
        self.has_rolled_back = values["has_rolled_back"]

    def rolled_back(self, trainer: Trainer) -> None:
        self.in_a_row = 0

    def _give_in(self, trainer: Trainer, step: Step, cause: str) -> None:
        if self.may_roll_back and not self.has_rolled_back:
            self.has_rolled_back = True
            step.roll_back(cause)
        else:
            trainer.fail(TrainingStopped(step.number, cause))

    def _look_at(self, what: str, value: float, step: Step) -> None:
        if not math.isfinite(value):
            self._cause = f"{what} is {value}"
            step.refuse(self._cause)
