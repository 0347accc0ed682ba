"""Loss spikes: refusing a step that stands out from the accepted ones, and telling a spike from a new level."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from cortexzoo.specs.guards import SpikeAction
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer


class SpikeGuard(Policy):
    """Refuses steps that a rule calls spikes; what was refused never enters the rule's history.

    `action: rollback` returns to the last recovery checkpoint at the first refusal of a row: after that the state is
    beyond suspicion, and further ones in the row are only skipped. `action: skip` does so at the last refusal of a row
    of `rebaseline_after`, if there is a checkpoint, since a row that long may come from damage to the model. When the
    next step is refused again, it is the data that changed: the new level is accepted and the history starts anew.
    Values that are not finite are the finite gate's: they neither add to the row nor end it.
    """

    name = "spikes"
    recoverable = ("history",)

    def __init__(self, action: SpikeAction, rebaseline_after: int, may_roll_back: bool) -> None:
        self.action = action
        self.rebaseline_after = rebaseline_after
        self.may_roll_back = may_roll_back
        self.loss_spikes = 0
        self.gradient_spikes = 0
        self.in_a_row = 0
        self.new_levels = 0

    @abstractmethod
    def loss_limit(self) -> float:
        """The highest loss that is no spike; infinity while too little is known."""

    def gradient_limit(self) -> float:
        """The same for the gradient norm."""
        return math.inf

    @abstractmethod
    def accept(self, step: Step) -> None:
        """Add a taken step to the history."""

    @abstractmethod
    def forget(self) -> None:
        """Empty the history."""

    @abstractmethod
    def history(self) -> dict[str, list[float]]:
        """What the rule has learnt so far, for a checkpoint."""

    @abstractmethod
    def set_history(self, history: Mapping[str, list[float]]) -> None:
        """Take over what `history` gave."""

    def loss_known(self, trainer: Trainer, step: Step) -> None:
        if math.isfinite(step.loss) and step.loss > (limit := self.loss_limit()):
            self.loss_spikes += 1
            self._meet(trainer, step, f"loss {step.loss:.4g} is a spike: the usual limit is {limit:.4g}")

    def gradients_known(self, trainer: Trainer, step: Step) -> None:
        norm = step.gradient_norm
        if math.isfinite(norm) and norm > (limit := self.gradient_limit()):
            self.gradient_spikes += 1
            self._meet(trainer, step, f"gradient norm {norm:.4g} is a spike: the usual limit is {limit:.4g}")

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        self.in_a_row = 0
        self.accept(step)
        self._report(step)

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        self._report(step)

    def results(self) -> dict[str, Any]:
        return {"loss_spikes": self.loss_spikes}

    def state_dict(self) -> dict[str, Any]:
        return {
            "history": self.history(),
            "loss_spikes": self.loss_spikes,
            "gradient_spikes": self.gradient_spikes,
            "in_a_row": self.in_a_row,
            "new_levels": self.new_levels,
        }

    def load_state(self, trainer: Trainer, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.set_history(values["history"])
        self.loss_spikes, self.gradient_spikes = values["loss_spikes"], values["gradient_spikes"]
        self.in_a_row, self.new_levels = values["in_a_row"], values["new_levels"]

    def _meet(self, trainer: Trainer, step: Step, reason: str) -> None:
        if self.in_a_row >= self.rebaseline_after:
            trainer.event("new_level", {"reason": reason, "refused_in_a_row": self.in_a_row})
            self.new_levels += 1
            self.in_a_row = 0
            self.forget()
            return
        self.in_a_row += 1
        decisive = 1 if self.action == "rollback" else self.rebaseline_after
        if self.may_roll_back and self.in_a_row == decisive:
            step.roll_back(reason)
        else:
            step.refuse(reason)

    def _report(self, step: Step) -> None:
        step.metrics["stability/loss_spikes"] = self.loss_spikes
        step.metrics["stability/gradient_spikes"] = self.gradient_spikes
