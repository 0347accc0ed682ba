"""Held-out loss at regular steps, and which step had the best."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jaxtyping import Int
from torch import Tensor

from zoo.training.evaluation import HeldOut, measure
from zoo.training.policy import Policy, Step

if TYPE_CHECKING:
    from zoo.training.loop import Trainer

GATE_SHARE = "memory/gate_share/"


class Validation(Policy):
    """Measures the held-out loss every `every` steps and after the last one.

    Every batch starts from what the model makes of the training memory between batches. Several processes share the
    batches out among themselves; the batches are the same for any number of processes.
    """

    name = "validation"

    def __init__(self, batches: Sequence[Int[Tensor, "_ time_and_target"]], every: int, steps: int) -> None:
        self.batches = batches
        self.every = every
        self.steps = steps
        self.loss: float | None = None
        self.best_loss: float | None = None
        self.best_step: int | None = None
        self.gate_shares: dict[str, float] = {}

    def step_taken(self, trainer: "Trainer", step: Step) -> None:
        if step.number % self.every == 0 or step.number == self.steps:
            self._validate(trainer, step)

    def step_refused(self, trainer: "Trainer", step: Step) -> None:
        self.step_taken(trainer, step)

    def state_dict(self) -> dict[str, Any]:
        return {
            "loss": self.loss,
            "best_loss": self.best_loss,
            "best_step": self.best_step,
            "gate_shares": self.gate_shares,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.loss, self.best_loss, self.best_step = state["loss"], state["best_loss"], state["best_step"]
        self.gate_shares = dict(state["gate_shares"])

    def measured(self, trainer: "Trainer") -> tuple[float, HeldOut]:
        """The held-out loss of the model as it stands, in nats a byte, and this process's part of the measurement."""
        ranks = trainer.ranks
        own = self.batches[ranks.rank :: ranks.count]
        memory = ranks.whole(trainer.model, trainer.memory)
        held_out = measure(trainer.model, own, state=memory, precision=trainer.precision)
        sums = ranks.total({"loss": held_out.loss_sum, "targets": float(held_out.targets)})
        return sums["loss"] / sums["targets"], held_out

    def _validate(self, trainer: "Trainer", step: Step) -> None:
        self.loss, held_out = self.measured(trainer)
        self.gate_shares = _gate_shares(held_out)
        step.metrics["validation/loss"] = self.loss
        if math.isfinite(self.loss) and (self.best_loss is None or self.loss < self.best_loss):
            self.best_loss, self.best_step = self.loss, step.number


def _gate_shares(held_out: HeldOut) -> dict[str, float]:
    return {
        name.removeprefix(GATE_SHARE): value for name, value in held_out.readings.items() if name.startswith(GATE_SHARE)
    }
