"""The clipping of the Phase 1 document: a threshold from the gradient history, and a much lower one for a spike."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from cortexzoo.specs.guards import AdaptiveClipping as AdaptiveClippingSpec
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer
from cortexzoo.zoo.training.policies.guards.norm_clipping import clip_to


class AdaptiveClipping(Policy):
    """threshold = min(max_norm, percentile of the history); a norm above spike_ratio · mean: threshold / spike_divisor.

    The history has norms before clipping, of taken steps only. A spike enters as spike_ratio times the mean, so that
    one outlier does not blind the rule and a lasting new level is reached in a few steps.
    """

    name = "adaptive_clipping"
    recoverable = ("history",)

    def __init__(self, spec: AdaptiveClippingSpec) -> None:
        self.spec = spec
        self.history: list[float] = []

    def gradients_known(self, trainer: Trainer, step: Step) -> None:
        if math.isfinite(step.gradient_norm):
            threshold = self.threshold(step.gradient_norm)
            step.metrics["stability/clip_threshold"] = threshold
            clip_to(trainer, threshold, step.gradient_norm)

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        if math.isfinite(step.gradient_norm):
            limit = self._spike_limit()
            self.history = [*self.history, min(step.gradient_norm, limit)][-self.spec.window :]

    def threshold(self, norm: float) -> float:
        """The bound for a step whose gradient has this norm."""
        if len(self.history) < self.spec.min_history:
            return self.spec.max_norm
        usual = min(self.spec.max_norm, float(np.percentile(self.history, self.spec.percentile)))
        return usual / self.spec.spike_divisor if norm > self._spike_limit() else usual

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history}

    def load_state(self, trainer: Trainer, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.history = list(values["history"])

    def _spike_limit(self) -> float:
        if len(self.history) < self.spec.min_history:
            return math.inf
        return self.spec.spike_ratio * float(np.mean(self.history))
