"""Gradient clipping by global norm, to a fixed bound."""

from typing import TYPE_CHECKING

from cortexzoo.zoo.training.policies.base import Policy, Step
from cortexzoo.zoo.training.policies.guards.scaling import clip_to

if TYPE_CHECKING:
    from cortexzoo.zoo.training.loop import Trainer


class NormClipping(Policy):
    """g ← g · min(1, max_norm / ‖g‖₂), over all gradients together.

    Source: Pascanu et al. 2013, arXiv:1211.5063, Algorithm 1.
    """

    name = "clipping"

    def __init__(self, max_norm: float) -> None:
        self.max_norm = max_norm

    def gradients_known(self, trainer: "Trainer", step: Step) -> None:
        clip_to(trainer, self.max_norm, step.gradient_norm)
