"""Every kind of gradient clipping again, from its description alone: plain numbers, one gradient after another."""

import math
from collections.abc import Sequence
from statistics import fmean, pvariance

import numpy as np
import torch
from torch import Tensor, nn

from cortexzoo.specs import guards

REFERENCED = (
    guards.NoClipping, guards.NormClipping, guards.AdaptiveClipping, guards.ZClip, guards.AdaGC, guards.AGC,
)  # fmt: skip
"""Kinds that are written out here; runs with others are not compared."""
SMALLEST_DEVIATION = 1e-6
"""Of ZClip, relative to the mean."""


class ReferenceClipping:
    """What clipping remembers of the taken steps. `clip` changes gradients in place, `step_taken` learns from them."""

    def __init__(self, spec: guards.ClippingSpec) -> None:
        self.spec = spec
        self.norms: list[float] = []
        """Adaptive: the history. ZClip: what is collected before there is a mean."""
        self.mean: float | None = None
        self.variance = 0.0
        self.averages: dict[int, float] = {}
        """AdaGC: of each parameter, by its place."""
        self.taken = 0
        self._kept = 0.0
        self._own: dict[int, float] = {}

    def clip(self, parameters: Sequence[nn.Parameter], norm: float) -> None:
        match self.spec:
            case guards.NormClipping(max_norm=bound):
                _scale_to(parameters, bound)
            case guards.AdaptiveClipping():
                self._kept = self._usual(norm)
                _scale_to(parameters, self._bound(norm))
            case guards.ZClip():
                self._kept = self._outlier_bound(norm)
                _scale_to(parameters, self._kept)
            case guards.AdaGC():
                self._clip_each(parameters, norm)
            case guards.AGC(ratio=ratio, eps=eps):
                for parameter in parameters:
                    _clip_units(parameter, ratio, eps)

    def step_taken(self) -> None:
        """The step whose gradients were clipped last was taken."""
        self.taken += 1
        match self.spec:
            case guards.AdaptiveClipping(window=window):
                self.norms = [*self.norms, self._kept][-window:]
            case guards.ZClip():
                self._learn(self._kept)
            case guards.AdaGC():
                self.averages.update(self._own)

    def _usual(self, norm: float) -> float:
        """The norm as it enters the history: a spike counts as the least spike."""
        spec = self.spec
        assert isinstance(spec, guards.AdaptiveClipping)
        if len(self.norms) < spec.min_history:
            return norm
        return min(norm, spec.spike_ratio * float(np.mean(self.norms)))

    def _bound(self, norm: float) -> float:
        spec = self.spec
        assert isinstance(spec, guards.AdaptiveClipping)
        if len(self.norms) < spec.min_history:
            return spec.max_norm
        bound = min(spec.max_norm, float(np.percentile(self.norms, spec.percentile)))
        is_spike = norm > spec.spike_ratio * float(np.mean(self.norms))
        return bound / spec.spike_divisor if is_spike else bound

    def _outlier_bound(self, norm: float) -> float:
        spec, mean = self.spec, self.mean
        assert isinstance(spec, guards.ZClip)
        if mean is None:
            return norm
        deviation = max(math.sqrt(self.variance), SMALLEST_DEVIATION * mean)
        score = (norm - mean) / deviation
        return norm if score <= spec.z_threshold else mean + deviation * spec.z_threshold * spec.z_threshold / score

    def _learn(self, norm: float) -> None:
        spec = self.spec
        assert isinstance(spec, guards.ZClip)
        if self.mean is not None:
            self.mean = spec.decay * self.mean + (1 - spec.decay) * norm
            self.variance = spec.decay * self.variance + (1 - spec.decay) * (norm - self.mean) ** 2
            return
        self.norms.append(norm)
        if len(self.norms) == spec.warmup:
            self.mean, self.variance = fmean(self.norms), pvariance(self.norms)

    def _clip_each(self, parameters: Sequence[nn.Parameter], norm: float) -> None:
        spec = self.spec
        assert isinstance(spec, guards.AdaGC)
        self._own = {}
        warm = self.taken >= spec.warmup
        if not warm:
            _scale_to(parameters, spec.warmup_max_norm)
        for place, parameter in enumerate(parameters):
            gradient = parameter.grad
            if gradient is None or not (own := float(gradient.norm())):
                continue
            average = self.averages.get(place, math.inf)
            if not warm:
                self._own[place] = min(average, own)
                continue
            factor = min(1.0, spec.ratio * average / own)
            gradient.mul_(factor)
            clipped = factor * own
            known = math.isfinite(average)
            self._own[place] = spec.decay * average + (1 - spec.decay) * clipped if known else clipped


def _scale_to(parameters: Sequence[nn.Parameter], bound: float) -> None:
    torch.nn.utils.clip_grad_norm_(parameters, bound)


@torch.no_grad()
def _clip_units(parameter: nn.Parameter, ratio: float, eps: float) -> None:
    """Row by row of a matrix; a vector as a whole."""
    gradient = parameter.grad
    if gradient is None:
        return
    whole = parameter.ndim < 2
    weights: list[Tensor] = [parameter] if whole else list(parameter)
    gradients: list[Tensor] = [gradient] if whole else list(gradient)
    for weight, own in zip(weights, gradients, strict=True):
        norm = float(own.norm())
        if norm > 0:
            own.mul_(min(1.0, ratio * max(float(weight.norm()), eps) / norm))
