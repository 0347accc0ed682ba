"""The reference loop on one text after another: what is added to the loss, and what keeps weights where they were."""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cortexzoo.harness.checking.training.reference_loop import ReferenceLoop
from cortexzoo.harness.checking.training.roles import LENGTH
from cortexzoo.harness.checking.training.surroundings import Generators, region
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.objective import Continual, NoReplay
from cortexzoo.specs.plasticity import Metaplasticity, SlowFollower
from cortexzoo.zoo.training.policies.base import Trainer


class ContinualReference(ReferenceLoop):
    """Written out from the documentation of the objective; the replayed rows are the last of each micro-batch."""

    def __init__(self, experiment: ExperimentSpec, random_state: Generators) -> None:
        self.slow: list[Tensor] = []
        self.importance: list[Tensor] = []
        super().__init__(experiment, random_state)
        objective = experiment.recipe.objective
        assert isinstance(objective, Continual)
        self.objective = objective
        self.before: Any = None
        self._number = 0

    def _beside(self, tokens: Tensor, logits: Tensor, begun: Any, places: Tensor | None) -> Tensor | float:
        replay = self.objective.replay
        if isinstance(replay, NoReplay) or not replay.kl_weight or self.before is None:
            return 0.0
        assert places is not None
        state = self.before.placed(self.before.between_batches(begun, replay.rows), places[-replay.rows :])
        with torch.no_grad():
            expected = self.before(tokens[-replay.rows :, :-1], state).logits.float().softmax(-1)
        now = logits[-replay.rows :].float().log_softmax(-1)
        each = torch.special.xlogy(expected, expected) - expected * now
        apart: Tensor = each.sum(-1).mean()
        return replay.kl_weight * apart

    @torch.no_grad()
    def _clipped(self, number: int) -> None:
        self._number, protection = number, self.objective.protection
        if not isinstance(protection, Metaplasticity):
            return
        squares = [torch.zeros_like(p) if p.grad is None else p.grad**2 for p in self.trainable]
        if number > self.objective.earlier_steps:
            self._unmoved = [parameter.clone() for parameter in self.trainable]
        elif not self.importance:
            self.importance = squares
        else:
            share = protection.memory
            self.importance = [share * a + (1 - share) * b for a, b in zip(self.importance, squares, strict=True)]

    @torch.no_grad()
    def _over(self, number: int) -> None:
        protection, since = self.objective.protection, number - self.objective.earlier_steps
        if since == 0:
            self.before = copy.deepcopy(self.model).eval()
        if isinstance(protection, Metaplasticity) and since > 0 and self._number == number:
            mean = torch.cat([each.flatten() for each in self.importance]).double().mean()
            for parameter, old, one in zip(self.trainable, self._unmoved, self.importance, strict=True):
                rate = 1 / (1 + protection.strength * one / float(mean))
                parameter.copy_(old + rate * (parameter - old))
        if isinstance(protection, SlowFollower):
            self._follow(protection, since)

    def _copy(self) -> Any:
        self._slow_then, self._importance_then = list(self.slow), list(self.importance)
        return super()._copy()

    @torch.no_grad()
    def _return(self, number: int) -> None:
        super()._return(number)
        self.slow, self.importance = list(self._slow_then), list(self._importance_then)
        if number == self.recipe.steps and isinstance(self.objective.protection, SlowFollower):
            self._replace()

    def _follow(self, protection: SlowFollower, since: int) -> None:
        if since == 0:
            self.slow = [parameter.clone() for parameter in self.trainable]
        elif since > 0 and since % protection.every == 0:
            pairs = zip(self.slow, self.trainable, strict=True)
            self.slow = [slow + protection.rate * (fast - slow) for slow, fast in pairs]
        if since == self.recipe.steps - self.objective.earlier_steps:
            self._replace()

    def _replace(self) -> None:
        for parameter, slow in zip(self.trainable, self.slow, strict=True):
            parameter.copy_(slow)


@torch.no_grad()
def loss_of_a_part(trainer: Trainer, part: np.ndarray, some: int | None) -> float:
    """Nats a byte over the windows of a part, each from what the model makes of its memory between batches.

    `some`: of so many, evenly spread.
    """
    model = copy.deepcopy(trainer.model).eval()
    every = [part[at : at + LENGTH + 1] for at in range(0, len(part) - LENGTH, LENGTH)]
    windows = np.stack(every if some is None else [every[int((i + 0.5) * len(every) / some)] for i in range(some)])
    rows = torch.from_numpy(windows).to(trainer.device, torch.long)
    with region(trainer.device, trainer.precision):
        logits = model(rows[:, :-1], model.between_batches(trainer.memory, len(rows))).logits
    return -float(logits.double().log_softmax(-1).gather(-1, rows[:, 1:, None]).mean())
