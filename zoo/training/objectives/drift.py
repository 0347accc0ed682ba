"""Drift: what the sidecars do to plain text, beside what the base alone does."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cortexzoo.zoo.data.order import validation_starts
from cortexzoo.zoo.data.tasks.document import Ints
from cortexzoo.zoo.models.interface import MemoryLanguageModel
from cortexzoo.zoo.training.evaluation import autocast, model_device, next_token_loss, undisturbed
from cortexzoo.zoo.training.objectives.curriculum import Curriculum
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer
from cortexzoo.zoo.training.sleep import anchors

ROWS = 8
LARGEST_EXPONENT = 700.0


class Drift(Policy):
    """Reports, as an event `drift`, the perplexity of a fixed text and the divergence from the base.

    Before the first step and at the end of every epoch. The base's perplexity is measured before training.
    """

    name = "drift"

    def __init__(self, texts: Int[Tensor, "sequences time_and_target"], curriculum: Curriculum) -> None:
        self.texts = texts
        self.curriculum = curriculum
        self.base_perplexity: float | None = None
        self._reported = -1
        """The epoch after which drift was last reported."""

    def phase_began(self, trainer: Trainer) -> None:
        if self.base_perplexity is None:
            self.base_perplexity = _perplexity(self._measure(trainer, trainer.model.switches)[0])
            self._report(trainer, {})

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        if self.curriculum.epoch > self._reported:
            self._report(trainer, step.metrics)

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        self.step_taken(trainer, step)

    def state_dict(self) -> dict[str, Any]:
        return {"base_perplexity": self.base_perplexity, "told": self._reported}

    def load_state(self, trainer: Trainer, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.base_perplexity, self._reported = values["base_perplexity"], values["told"]

    def measured(self, trainer: Trainer) -> dict[str, float | None]:
        """Perplexity of the text, that of the base before training, and the divergence from the base."""
        loss, divergent = self._measure(trainer, ())
        return {"perplexity": _perplexity(loss), "base_perplexity": self.base_perplexity, "hidden_kl": divergent}

    def _report(self, trainer: Trainer, metrics: dict[str, float]) -> None:
        self._reported = self.curriculum.epoch
        found = self.measured(trainer)
        metrics |= {f"drift/{name}": value for name, value in found.items() if value is not None}
        trainer.event("drift", {"epoch": self.curriculum.epoch, **found})

    def _measure(self, trainer: Trainer, disabled: tuple[str, ...]) -> tuple[float, float]:
        """Nats a token, and nats of divergence a token."""
        model = trainer.model
        losses, divergent = 0.0, 0.0
        with undisturbed(model), autocast(trainer.device, trainer.precision):
            for rows in self.texts.to(model_device(model)).split(ROWS):
                logits = model(rows[:, :-1], None, disabled).logits
                losses += next_token_loss(logits, rows).item() * len(rows)
                divergent += divergence(model, rows[:, :-1], logits).item() * len(rows)
        return losses / len(self.texts), divergent / len(self.texts)


def _perplexity(loss: float) -> float:
    return math.exp(loss) if loss < LARGEST_EXPONENT else math.inf


def divergence(
    model: MemoryLanguageModel[Any],
    tokens: Int[Tensor, "rows time"],
    logits: Float[Tensor, "rows time vocab"] | None = None,
) -> Float[Tensor, ""]:
    """KL(base ‖ model) of the next token, in nats, mean over all places; the base gets no gradient."""
    with torch.no_grad():
        base = model(tokens, None, model.switches).logits
    logits = model(tokens, None).logits if logits is None else logits
    with torch.autocast(tokens.device.type, enabled=False):
        return anchors.divergence(base, logits)


def windows(text: Ints, count: int, length: int) -> Int[Tensor, "sequences time_and_target"]:
    """At most so many windows of `length` tokens and a target, evenly spread."""
    starts = torch.from_numpy(validation_starts(len(text), length, count))
    return torch.from_numpy(text)[starts[:, None] + torch.arange(length + 1)]
