"""How steady training is: variance and outliers of the loss, spread of the gradient norm, size of the update."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer
from cortexzoo.zoo.training.state.movement import Movement

WINDOW = 100
"""Taken steps over which variance and percentile are computed."""
SCORE_WINDOW = 128
SCORE_DEVIATIONS = 6.0
"""Source of both: the spike score of OLMo 2, 2025, arXiv:2501.00656, Section 3.1."""


class StabilityMonitor(Policy):
    """Adds `stability/loss_variance`, `stability/gradient_percentile_90` and `stability/spike_score` to each step.

    The spike score is the share, in percent, of losses more than six standard deviations from the mean of the 128
    before them, refused steps included; a loss that is not finite counts as one. It misses slow divergence:
    `loss_ratio` is for that.
    """

    name = "stability"

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.seen: list[float] = []
        self.outliers = 0
        self.count = 0

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        if math.isfinite(step.loss) and math.isfinite(step.gradient_norm):
            self.losses = [*self.losses, step.loss][-WINDOW:]
            self.norms = [*self.norms, step.gradient_norm][-WINDOW:]
        self._score(step)

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        self._score(step)

    @property
    def spike_score(self) -> float:
        """Percent of all losses so far."""
        return 100.0 * self.outliers / self.count if self.count else 0.0

    def state_dict(self) -> dict[str, Any]:
        return {
            "losses": self.losses,
            "norms": self.norms,
            "seen": self.seen,
            "outliers": self.outliers,
            "count": self.count,
        }

    def load_state(self, trainer: Trainer, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.losses, self.norms, self.seen = list(values["losses"]), list(values["norms"]), list(values["seen"])
        self.outliers, self.count = values["outliers"], values["count"]

    def _score(self, step: Step) -> None:
        self.count += 1
        if not math.isfinite(step.loss):
            self.outliers += 1
        else:
            if len(self.seen) == SCORE_WINDOW:
                far = SCORE_DEVIATIONS * float(np.std(self.seen))
                self.outliers += abs(step.loss - float(np.mean(self.seen))) > far
            self.seen = [*self.seen, step.loss][-SCORE_WINDOW:]
        step.metrics["stability/spike_score"] = self.spike_score
        if self.losses:
            step.metrics["stability/loss_variance"] = float(np.var(self.losses))
            step.metrics["stability/gradient_percentile_90"] = float(np.percentile(self.norms, 90))


class UpdateSize(Policy):
    """Adds `stability/update_rms`, the root mean square of what the step changed, every `every` steps.

    With FSDP of what the first process has of each weight.
    """

    name = "update_size"

    def __init__(self, every: int) -> None:
        self.every = every
        self._movement: Movement | None = None

    def gradients_known(self, trainer: Trainer, step: Step) -> None:
        self._movement = Movement(trainer.trainable) if step.number % self.every == 0 else None

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        if self._movement is not None:
            step.metrics["stability/update_rms"] = self._movement.rms()
        self._movement = None

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        self._movement = None
