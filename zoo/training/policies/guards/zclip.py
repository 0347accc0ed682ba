"""ZClip: clipping by the z-score of the gradient norm over exponential averages."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from cortexzoo.specs.guards import ZClip as ZClipSpec
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer
from cortexzoo.zoo.training.policies.guards.norm_clipping import clip_to

SMALLEST_DEVIATION = 1e-6
"""Relative to the mean, so that equal norms do not make every other norm an outlier."""


class ZClip(Policy):
    """z = (‖g‖ − μ) / σ; where z > z₀ the norm is clipped to μ + σ z₀² / z, and that is what μ and σ learn.

    μ ← α μ + (1 − α) ‖g‖;  σ² ← α σ² + (1 − α)(‖g‖ − μ)². Source: Kumar et al. 2025, arXiv:2504.02507, Algorithm 1.
    Differs: the averages move with taken steps only, and norms that are not finite never reach them.
    """

    name = "zclip"
    recoverable = ("collected", "mean", "variance")

    def __init__(self, spec: ZClipSpec) -> None:
        self.spec = spec
        self.collected: list[float] = []
        """Norms of the warmup; empty once μ and σ are set."""
        self.mean: float | None = None
        self.variance = 0.0

    def gradients_known(self, trainer: Trainer, step: Step) -> None:
        if math.isfinite(step.gradient_norm):
            clip_to(trainer, self.bound(step.gradient_norm), step.gradient_norm)

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        if math.isfinite(step.gradient_norm):
            self._learn(self.bound(step.gradient_norm))

    def bound(self, norm: float) -> float:
        """The norm that a gradient of norm `norm` may keep."""
        if self.mean is None:
            return norm
        deviation = max(math.sqrt(self.variance), SMALLEST_DEVIATION * self.mean)
        if deviation == 0 or (z := (norm - self.mean) / deviation) <= self.spec.z_threshold:
            return norm
        return self.mean + deviation * self.spec.z_threshold**2 / z

    def state_dict(self) -> dict[str, Any]:
        return {"collected": self.collected, "mean": self.mean, "variance": self.variance}

    def load_state(self, trainer: Trainer, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.collected, self.mean, self.variance = list(values["collected"]), values["mean"], values["variance"]

    def _learn(self, norm: float) -> None:
        if self.mean is None:
            self.collected = [*self.collected, norm]
            if len(self.collected) == self.spec.warmup:
                self.mean, self.variance = float(np.mean(self.collected)), float(np.var(self.collected))
                self.collected = []
            return
        kept = self.spec.decay
        self.mean = kept * self.mean + (1 - kept) * norm
        self.variance = kept * self.variance + (1 - kept) * (norm - self.mean) ** 2
