"""Gradient clipping by global norm, to a fixed bound."""

import torch
from torch.nn.utils import clip_grads_with_norm_

from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer


def clip_to(trainer: Trainer, bound: float, norm: float) -> None:
    """g ← g · min(1, bound / norm), where `norm` is the L2 norm of all gradients together."""
    clip_grads_with_norm_(trainer.trainable, bound, torch.tensor(norm, device=trainer.device))


class NormClipping(Policy):
    """g ← g · min(1, max_norm / ‖g‖₂), over all gradients together.

    Source: Pascanu et al. 2013, arXiv:1211.5063, Algorithm 1.
    """

    name = "clipping"

    def __init__(self, max_norm: float) -> None:
        self.max_norm = max_norm

    def gradients_known(self, trainer: Trainer, step: Step) -> None:
        clip_to(trainer, self.max_norm, step.gradient_norm)
