"""AdaGC: each parameter's gradient is clipped by an exponential average of its own norms."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from cortexzoo.specs.guards import AdaGC as AdaGCSpec
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer
from cortexzoo.zoo.training.policies.guards.norm_clipping import clip_to


class AdaGC(Policy):
    """g_i ← g_i · min(1, ratio · γ_i / ‖g_i‖);  γ_i ← β γ_i + (1 − β) ‖g_i‖ of the clipped gradient.

    During warmup the gradient is clipped by its global norm and γ_i is the smallest norm seen.
    Source: Wang et al. 2025, arXiv:2502.11034, Algorithm 1. Differs: a norm of 0 (a memory that is still empty) and one
    that is not finite never reach γ_i, since with γ_i = 0 a parameter could never move again; a parameter without γ_i
    is not clipped.
    """

    name = "adagc"
    recoverable = ("averages", "taken")

    def __init__(self, spec: AdaGCSpec) -> None:
        self.spec = spec
        self.averages: Tensor | None = None
        """γ of every trainable parameter; infinity: none yet."""
        self.taken = 0
        self._learnt: Tensor | None = None

    def gradients_known(self, trainer: Trainer, step: Step) -> None:
        self._learnt = self.averages
        if not math.isfinite(step.gradient_norm):
            return
        gradients = [parameter.grad for parameter in trainer.trainable]
        before = torch.stack([torch.zeros((), device=trainer.device) if g is None else g.norm() for g in gradients])
        averages = torch.full_like(before, torch.inf) if self.averages is None else self.averages.to(before)
        usable = before.isfinite() & (before > 0)
        if self.taken < self.spec.warmup:
            clip_to(trainer, self.spec.warmup_max_norm, step.gradient_norm)
            after = before * min(1.0, self.spec.warmup_max_norm / max(step.gradient_norm, 1e-12))
            learnt = torch.minimum(averages, after)
        else:
            scale = (self.spec.ratio * averages / before).clamp(max=1.0).where(usable, 1.0)
            for gradient, factor in zip(gradients, scale, strict=True):
                if gradient is not None:
                    gradient.mul_(factor)
            after = before * scale
            kept = self.spec.decay
            learnt = torch.where(averages.isfinite(), kept * averages + (1 - kept) * after, after)
        self._learnt = torch.where(usable & after.isfinite(), learnt, averages)

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        self.averages = self._learnt
        self.taken += 1

    def state_dict(self) -> dict[str, Any]:
        averages = None if self.averages is None else [None if a == torch.inf else a for a in self.averages.tolist()]
        return {"averages": averages, "taken": self.taken}

    def load_state(self, trainer: Trainer, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        stored = values["averages"]
        self.averages = None if stored is None else torch.tensor([torch.inf if a is None else a for a in stored])
        self.taken = values["taken"]
