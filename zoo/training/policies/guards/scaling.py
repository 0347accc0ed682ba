"""Scaling all gradients down to a bound on their common norm."""

from typing import TYPE_CHECKING

import torch
from torch.nn.utils import clip_grads_with_norm_

if TYPE_CHECKING:
    from cortexzoo.zoo.training.loop import Trainer


def clip_to(trainer: "Trainer", bound: float, norm: float) -> None:
    """g ← g · min(1, bound / norm), where `norm` is the L2 norm of all gradients together."""
    clip_grads_with_norm_(trainer.trainable, bound, torch.tensor(norm, device=trainer.device))
