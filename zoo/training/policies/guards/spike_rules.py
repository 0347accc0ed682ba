"""Spike rules: above which loss or gradient norm a step is a spike."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from cortexzoo.specs import guards as kinds
from cortexzoo.zoo.training.policies.base import Step
from cortexzoo.zoo.training.policies.guards.spikes import SpikeGuard

MAD_TO_SIGMA = 1.4826
"""The standard deviation of a normal distribution over its median absolute deviation."""


class RobustDeviation(SpikeGuard):
    """limit = median + k · max(1.4826 · MAD, floor) over the last accepted steps.

    Losses as they are, with a floor relative to their median; gradient norms as logarithms, since they spread over
    orders of magnitude, with the same floor as an absolute one.
    """

    def __init__(self, spec: kinds.RobustDeviation, may_roll_back: bool) -> None:
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


class AverageRatio(SpikeGuard):
    """A loss above ratio · mean of the last accepted losses is a spike."""

    def __init__(self, spec: kinds.AverageRatio, may_roll_back: bool) -> None:
        super().__init__(spec.action, spec.rebaseline_after, may_roll_back)
        self.spec = spec
        self.losses: list[float] = []

    def loss_limit(self) -> float:
        if len(self.losses) < self.spec.min_history:
            return math.inf
        return self.spec.ratio * float(np.mean(self.losses))

    def accept(self, step: Step) -> None:
        if math.isfinite(step.loss):
            self.losses = [*self.losses, step.loss][-self.spec.window :]

    def forget(self) -> None:
        self.losses = []

    def history(self) -> dict[str, list[float]]:
        return {"losses": self.losses}

    def set_history(self, history: Mapping[str, list[float]]) -> None:
        self.losses = list(history["losses"])


class SpikeCount(AverageRatio):
    """Counts losses by the Phase 1 rule without refusing any; they enter the history as they are."""

    def __init__(self) -> None:
        super().__init__(kinds.AverageRatio(), may_roll_back=False)

    def _meet(self, trainer: object, step: Step, reason: str) -> None:
        pass
