"""What keeps the weights near those of an earlier text: rates by importance, or a learner that follows slowly."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cortexzoo.specs.plasticity import Metaplasticity, NoProtection, ProtectionSpec, SlowFollower
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer


class ATensorAWeight(Policy):
    """Keeps one tensor of the shape of each trained weight, or none yet. They return with the weights."""

    def __init__(self) -> None:
        self.kept: list[Tensor] = []
        self.recoverable = (self.name,)  # their names begin with it

    def state_dict(self) -> dict[str, Any]:
        return {"tensors": len(self.kept)}

    def tensors(self) -> dict[str, Tensor]:
        return {f"{self.name}/{number}": tensor for number, tensor in enumerate(self.kept)}

    def load_state(self, trainer: Trainer, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.kept = [tensors[f"{self.name}/{number}"] for number in range(len(tensors))]


class RatesByImportance(ATensorAWeight):
    """Takes back, of every weight's step on the later text, the more the more important the weight was before.

        w <- w_before + factor * (w - w_before),  factor = 1 / (1 + strength * F / mean F)

    F (`kept`) is a moving mean of squared gradients on the earlier text, after clipping: the diagonal of the empirical
    Fisher information. Weight decay is slowed with the rest. Source: Kirkpatrick et al. 2017, arXiv:1612.00796, for F.
    """

    name = "rates_by_importance"

    def __init__(self, spec: Metaplasticity, earlier_steps: int) -> None:
        super().__init__()
        self.spec, self.earlier_steps = spec, earlier_steps
        self._before: list[Tensor] = []

    @torch.no_grad()
    def gradients_known(self, trainer: Trainer, step: Step) -> None:
        if step.number > self.earlier_steps:
            self._before = [parameter.detach().clone() for parameter in trainer.trainable]
            return
        squares = [
            torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.square()
            for parameter in trainer.trainable
        ]
        weight = self.spec.memory if self.kept else 0.0
        self.kept = [
            new if not weight else weight * old + (1 - weight) * new
            for old, new in zip(self.kept or squares, squares, strict=True)
        ]

    @torch.no_grad()
    def step_taken(self, trainer: Trainer, step: Step) -> None:
        if not self._before or not self.kept:
            return
        mean = sum(float(each.sum()) for each in self.kept) / sum(each.numel() for each in self.kept)
        for now, then, important in zip(trainer.trainable, self._before, self.kept, strict=True):
            now.copy_(then + (now - then) / (1 + self.spec.strength * important / max(mean, 1e-30)))
        self._before = []

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        self._before = []


class FollowingSlowly(ATensorAWeight):
    """A slow copy (`kept`) of the weights that follows them on the later text, and replaces them after the last step.

    Source: McClelland et al. 1995, doi:10.1037/0033-295X.102.3.419. Differs: the slow learner follows the fast one's
    weights where theirs is taught by replayed examples; `replay` of the objective gives both what is replayed.
    """

    name = "following_slowly"

    def __init__(self, spec: SlowFollower, earlier_steps: int, steps: int) -> None:
        super().__init__()
        self.spec, self.earlier_steps, self.steps = spec, earlier_steps, steps

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        self._follow(trainer, step)

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        self._follow(trainer, step)

    def rolled_back(self, trainer: Trainer) -> None:
        if trainer.position == self.steps and self.kept:
            self._replace(trainer)

    @torch.no_grad()
    def _follow(self, trainer: Trainer, step: Step) -> None:
        since = step.number - self.earlier_steps
        if since == 0 or (since > 0 and not self.kept):
            self.kept = [parameter.detach().clone() for parameter in trainer.trainable]
        elif since > 0 and since % self.spec.every == 0:
            self.kept = [then.lerp(now, self.spec.rate) for then, now in zip(self.kept, trainer.trainable, strict=True)]
        if step.number == self.steps:
            self._replace(trainer)
            step.held_out = None  # that of the fast learner

    @torch.no_grad()
    def _replace(self, trainer: Trainer) -> None:
        for parameter, slow in zip(trainer.trainable, self.kept, strict=True):
            parameter.copy_(slow)


def build_protection(spec: ProtectionSpec, earlier_steps: int, steps: int) -> tuple[Sequence[Policy], Sequence[Policy]]:
    """The policies of a kind: of the step that was taken, and of the weights after a sleep."""
    match spec:
        case NoProtection():
            return (), ()
        case Metaplasticity():
            return (RatesByImportance(spec, earlier_steps),), ()
        case SlowFollower():
            return (), (FollowingSlowly(spec, earlier_steps, steps),)
