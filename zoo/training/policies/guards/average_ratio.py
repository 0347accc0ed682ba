"""The spike rule of the Phase 1 document: several times the average of the last losses."""

import math
from collections.abc import Mapping

import numpy as np

from cortexzoo.specs.guards import AverageRatio as AverageRatioSpec
from cortexzoo.zoo.training.policies.base import Step
from cortexzoo.zoo.training.policies.guards.spikes import SpikeGuard


class AverageRatio(SpikeGuard):
    """A loss above ratio · mean of the last accepted losses is a spike."""

    def __init__(self, spec: AverageRatioSpec, may_roll_back: bool) -> None:
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
