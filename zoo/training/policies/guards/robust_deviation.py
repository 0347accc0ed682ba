"""Our spike rule: far above the median, measured in robust standard deviations, for loss and gradient norm."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from cortexzoo.specs.guards import RobustDeviation as RobustDeviationSpec
from cortexzoo.zoo.training.policies.base import Step
from cortexzoo.zoo.training.policies.guards.spikes import SpikeGuard

MAD_TO_SIGMA = 1.4826
"""The standard deviation of a normal distribution over its median absolute deviation."""


class RobustDeviation(SpikeGuard):
    """limit = median + k · max(1.4826 · MAD, floor) over the last accepted steps.

    Losses as they are, with a floor relative to their median; gradient norms as logarithms, since they spread over
    orders of magnitude, with the same floor as an absolute one.
    """

    def __init__(self, spec: RobustDeviationSpec, may_roll_back: bool) -> None:
        super().__init__(spec.action, spec.rebaseline_after, may_roll_back)
        self.spec = spec
        self.losses: list[float] = []
        self.log_norms: list[float] = []

    def loss_limit(self) -> float:
        return self._limit(self.losses, self.spec.deviations, relative=True)

    def gradient_limit(self) -> float:
        limit = self._limit(self.log_norms, self.spec.gradient_deviations, relative=False)
        return math.exp(min(limit, 700.0)) if math.isfinite(limit) else math.inf

    def accept(self, step: Step) -> None:
        if math.isfinite(step.loss):
            self.losses = [*self.losses, step.loss][-self.spec.window :]
        if math.isfinite(step.gradient_norm) and step.gradient_norm > 0:
            self.log_norms = [*self.log_norms, math.log(step.gradient_norm)][-self.spec.window :]

    def forget(self) -> None:
        self.losses, self.log_norms = [], []

    def history(self) -> dict[str, list[float]]:
        return {"losses": self.losses, "log_norms": self.log_norms}

    def set_history(self, history: Mapping[str, list[float]]) -> None:
        self.losses, self.log_norms = list(history["losses"]), list(history["log_norms"])

    def _limit(self, values: Sequence[float], deviations: float, relative: bool) -> float:
        if len(values) < self.spec.min_history:
            return math.inf
        median = float(np.median(values))
        spread = MAD_TO_SIGMA * float(np.median(np.abs(np.asarray(values) - median)))
        floor = self.spec.relative_floor * (abs(median) if relative else 1.0)
        return median + deviations * max(spread, floor)
