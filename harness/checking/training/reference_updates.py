"""The guard of updates again, from the documentation alone: which steps are undone, and which are a new level."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from cortexzoo.specs import guards
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer


class ScaledRates(Policy):
    """Multiplies the learning rate of each step by a script's factor, and measures how far all weights then move."""

    name = "harness_scaled_rates"

    def __init__(self, factors: Mapping[int, float]) -> None:
        self.factors = factors
        self.sizes: dict[int, float] = {}
        """By step: RMS of the whole change ÷ the rate that was scheduled."""
        self._scheduled = math.nan
        self._weights: list[Tensor] = []

    def loss_known(self, trainer: Trainer, step: Step) -> None:
        self._scheduled = step.learning_rate

    def gradients_ready(self, trainer: Trainer, step: Step) -> None:
        step.learning_rate *= self.factors.get(step.number, 1.0)
        self._weights = [weight.detach().double().clone() for weight in self._all(trainer)]

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        if not self._scheduled:
            return  # a step that goes nowhere has no size
        pairs = zip(self._all(trainer), self._weights, strict=True)
        changes = torch.cat([(after.detach().double() - before).flatten() for after, before in pairs])
        self.sizes[step.number] = float(changes.square().mean().sqrt()) / self._scheduled

    def _all(self, trainer: Trainer) -> list[nn.Parameter]:
        return [weight for weight in trainer.model.parameters() if weight.requires_grad]


class LargeNumber(Policy):
    """Puts a number into the first row of the first embedding before a step, where the text has no such token."""

    name = "harness_large_number"

    def __init__(self, step: int, number: float) -> None:
        self.step, self.number = step, number

    def batch_ready(self, trainer: Trainer, step: Step) -> None:
        if step.number == self.step:
            table = next(module for module in trainer.model.modules() if isinstance(module, nn.Embedding))
            with torch.no_grad():
                table.weight[0, 0] = self.number


class NotFinite(Policy):
    """Makes a number NaN while a step is under way, where no later pass reads it; a script may refuse that step."""

    name = "harness_not_finite"

    def __init__(self, step: int, part: str, *, refuses: bool) -> None:
        self.step, self.part, self.refuses = step, part, refuses

    def attach(self, trainer: Trainer) -> None:
        """With a number in the model that nothing reads."""
        trainer.model.register_buffer("harness_number", torch.zeros((), device=trainer.device))

    def loss_known(self, trainer: Trainer, step: Step) -> None:
        if step.number == self.step and self.refuses:
            self._damage(trainer)
            step.refuse("refused by the harness")

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        if step.number == self.step:
            self._damage(trainer)

    def _damage(self, trainer: Trainer) -> None:
        """In a weight, a moment, or the memory."""
        if self.part == "weight":
            trainer.model.get_buffer("harness_number").fill_(math.nan)
        elif self.part == "moment":
            weight = trainer.trainable[-1]
            moment = next(value for value in trainer.optimizer.state[weight].values() if value.shape == weight.shape)
            moment.view(-1)[-1] = math.nan
        else:
            with_one_more = {
                name: pad(kept, (0, 0, 0, 1), value=math.nan) for name, kept in trainer.memory.tensors().items()
            }
            trainer.memory = type(trainer.memory).from_tensors(with_one_more)


@dataclass
class Undone:
    """What should become of updates of given sizes."""

    rollbacks: list[tuple[int, int, int]] = field(default_factory=list)
    """(step, step returned to, steps undone)."""
    new_levels: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, sizes: Mapping[int, float], rule: guards.RobustDeviation, every: int) -> "Undone":
        """With a recovery checkpoint every so many steps, and one at the start."""
        course, usual, last = cls(), list[float](), -math.inf
        point, kept, since = 0, list[float](), 0
        for step, size in sorted(sizes.items()):
            since += 1
            known = len(usual) >= rule.min_history
            if known and size > rule.update_factor * median(usual):
                if step - last >= rule.window:
                    course.rollbacks.append((step, point, since))
                    usual, since, last = list(kept), 0, step
                    continue
                course.new_levels.append(step)
                usual, last = [], -math.inf
            usual = [*usual, size][-rule.window :]
            if since >= every:
                point, kept, since = step, list(usual), 0
        return course
