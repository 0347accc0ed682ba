"""Gradient clipping by global norm."""

from typing import TYPE_CHECKING

import torch
from torch.nn.utils import clip_grads_with_norm_

from zoo.training.policy import Policy, Step

if TYPE_CHECKING:
    from zoo.training.loop import Trainer


class GradientClipping(Policy):
    """g ← g · min(1, max_norm / ‖g‖₂), over all gradients together.

    Source: Pascanu et al. 2013, arXiv:1211.5063, Algorithm 1.
    """

    name = "clipping"

    def __init__(self, max_norm: float) -> None:
        self.max_norm = max_norm

    def gradients_known(self, trainer: "Trainer", step: Step) -> None:
        norm = torch.tensor(step.gradient_norm, device=trainer.device)
        clip_grads_with_norm_(trainer.trainable, self.max_norm, norm)
