"""The probe: a fixed held-out batch, evaluated often, which separates a swing of the model from a hard batch."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from cortexzoo.zoo.training.evaluation import measure
from cortexzoo.zoo.training.objectives.base import Examples
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer
from cortexzoo.zoo.training.policies.measuring.swing import raw_loss_ratio, upward_loss_ratio

MAX_ATTENTION_LOGIT = "stability/max_attention_logit"
"""A reading of models whose attention logits can be seen; taken where it costs no training time."""


class Probe(Policy):
    """Records the probe's loss, its largest upward swing after warmup, and beside it the raw training loss's max/min.

    Refused steps are probed too: what they did to the model (nothing) belongs in the curve. Their training loss is no
    swing; the finite gate counts them.
    """

    name = "probe"

    def __init__(self, examples: Examples, every: int, window: int, start: int) -> None:
        self.examples = examples
        self.every = every
        self.window = window
        self.start = start
        self.loss_ratio = 1.0
        self.raw_loss_ratio = 1.0
        self._probed: list[tuple[int, float]] = []
        self._losses: list[float] = []

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        if step.number > self.start:
            self._losses = [*self._losses, step.loss][-self.window :]
            self.raw_loss_ratio = max(self.raw_loss_ratio, raw_loss_ratio(self._losses, self.window))
        self._probe(trainer, step)

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        self._probe(trainer, step)

    def results(self) -> dict[str, Any]:
        return {"loss_ratio": self.loss_ratio, "raw_loss_ratio": self.raw_loss_ratio}

    def state_dict(self) -> dict[str, Any]:
        return {
            "loss_ratio": self.loss_ratio,
            "raw_loss_ratio": self.raw_loss_ratio,
            "probed": self._probed,
            "losses": self._losses,
        }

    def load_state(self, trainer: Trainer, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.loss_ratio = values["loss_ratio"]
        self.raw_loss_ratio = values["raw_loss_ratio"]
        self._probed = [(step, value) for step, value in values["probed"]]
        self._losses = list(values["losses"])

    def _probe(self, trainer: Trainer, step: Step) -> None:
        if step.number % self.every == 0:
            memory = trainer.ranks.gather(trainer.model, trainer.memory)
            held_out = measure(
                trainer.model,
                [self.examples.tokens],
                state=memory,
                precision=trainer.precision,
                scored=None if self.examples.scored is None else [self.examples.scored],
            )
            loss = trainer.ranks.mean({"loss": held_out.loss})["loss"]
            step.metrics["probe/loss"] = loss
            if (largest := held_out.readings.get(MAX_ATTENTION_LOGIT)) is not None:
                step.metrics[MAX_ATTENTION_LOGIT] = largest
            self._probed = [(at, value) for at, value in self._probed if at >= step.number - self.window]
            self._probed.append((step.number, loss))
            steps, values = zip(*self._probed, strict=True)
            self.loss_ratio = max(self.loss_ratio, upward_loss_ratio(steps, values, self.window, self.start))
        step.metrics["stability/loss_ratio"] = self.loss_ratio
        step.metrics["stability/raw_loss_ratio"] = self.raw_loss_ratio
