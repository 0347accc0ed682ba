"""A tracker that raises: for showing that training does not notice."""

from collections.abc import Mapping
from pathlib import Path


class RaisingSink:
    """Accepts everything before its step, and raises for the metrics of that step."""

    name = "faulty"
    identity = None

    def __init__(self, step: int) -> None:
        self.step = step

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        if step >= self.step:
            raise ConnectionError(f"the tracker is gone since step {step}")

    def event(self, step: int, kind: str, detail: Mapping[str, object]) -> None:
        pass

    def outcome(self, summary: Mapping[str, object], *, report: str, picture: Path) -> None:
        pass

    def close(self) -> None:
        pass
