"""The protocol through which training reports. `cortexzoo.harness.tracking` implements it."""

from collections.abc import Mapping
from typing import Protocol

TOKENS_PER_SECOND = "train/tokens_per_second"
SLEEP_SECONDS = "sleep/seconds"
WALL_CLOCK_METRICS = frozenset({TOKENS_PER_SECOND, SLEEP_SECONDS})
"""Metrics that depend on the machine's speed: exempt from every claim of bitwise equality."""


class Recorder(Protocol):
    """Receives metrics by step and events in between. Implementations must never stop training."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """All metrics of one optimiser step, by name: `train/loss`, `memory/gate_share/short_term`, …"""

    def event(self, step: int, kind: str, detail: Mapping[str, object]) -> None:
        """Something besides: a consolidation, a saved checkpoint, a refused step."""


class SilentRecorder:
    """Drops everything: for training in one's own code and for ranks that do not write."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        pass

    def event(self, step: int, kind: str, detail: Mapping[str, object]) -> None:
        pass
