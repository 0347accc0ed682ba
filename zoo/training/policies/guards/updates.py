"""Updates that are far larger than the learning rate explains: undone, since only the weights show them."""

import math
from collections.abc import Mapping
from statistics import median
from typing import Any

from torch import Tensor

from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer
from cortexzoo.zoo.training.state.movement import Movement

SAMPLE = 4096
"""Weights of each parameter that are compared before and after a step."""


class UpdateGuard(Policy):
    """Undoes a step whose update is above `factor` times the usual one, the learning rate taken into account.

    size = RMS of the change of a sample of the weights ÷ scheduled rate; limit = factor · median of the last sizes. So
    warmup and restarts are no outliers, and a wrong rate or damaged moments are. It is for optimisers whose update
    follows the rate, not the gradient, as that of Adam does.

    An undone size does not enter the history. If another is as large within `window` steps, that is what updates are
    now: it is accepted, and the history starts anew.
    """

    name = "updates"
    recoverable = ("sizes",)

    def __init__(self, factor: float, window: int, min_history: int) -> None:
        self.factor, self.window, self.min_history = factor, window, min_history
        self.sizes: list[float] = []
        self.undone_at = 0
        """Number of the step that was undone last; 0: none."""
        self._rate = math.nan
        self._movement: Movement | None = None

    def limit(self) -> float:
        """The largest size that is no outlier; infinity while too little is known."""
        return self.factor * median(self.sizes) if len(self.sizes) >= self.min_history else math.inf

    def loss_known(self, trainer: Trainer, step: Step) -> None:
        self._rate = step.learning_rate

    def gradients_known(self, trainer: Trainer, step: Step) -> None:
        self._movement = Movement(trainer.trainable, SAMPLE)

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        size = self._size()
        if not (math.isfinite(size) and size > 0):
            return
        if size <= (limit := self.limit()):
            self.sizes = [*self.sizes, size][-self.window :]
            return
        reason = f"the update is {size / limit * self.factor:.3g} times the usual one"
        if self.undone_at and step.number - self.undone_at < self.window:
            trainer.event("new_level", {"reason": reason, "refused_in_a_row": 0})
            self.sizes, self.undone_at = [size], 0
        else:
            self.undone_at = step.number
            step.undo(reason)

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        self._movement = None

    def state_dict(self) -> dict[str, Any]:
        return {"sizes": self.sizes, "undone_at": self.undone_at}

    def load_state(self, trainer: Trainer, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.sizes, self.undone_at = list(values["sizes"]), values["undone_at"]

    def _size(self) -> float:
        movement, self._movement = self._movement, None
        return movement.rms() / self._rate if movement is not None and self._rate > 0 else math.nan
