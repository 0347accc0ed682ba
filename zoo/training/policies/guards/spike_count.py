"""Counting spikes where nothing is done about them."""

from cortexzoo.specs.guards import AverageRatio as AverageRatioSpec
from cortexzoo.zoo.training.policies.base import Step
from cortexzoo.zoo.training.policies.guards.average_ratio import AverageRatio


class SpikeCount(AverageRatio):
    """Counts losses by the Phase 1 rule without refusing any; they enter the history as they are."""

    def __init__(self) -> None:
        super().__init__(AverageRatioSpec(), may_roll_back=False)

    def _meet(self, trainer: object, step: Step, reason: str) -> None:
        pass
