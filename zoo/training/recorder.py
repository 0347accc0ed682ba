"""The protocol through which training tells what happens. `cortexzoo.harness.tracking` fulfils it."""

from collections.abc import Mapping
from typing import Protocol


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
