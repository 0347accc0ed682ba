"""A tracker that raises: for showing that training does not notice."""

from collections.abc import Mapping


class RaisingSink:
    """Takes everything until its step, and raises for the metrics of that step."""

    name = "faulty"

    def __init__(self, step: int) -> None:
        self.step = step

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        if step >= self.step:
            raise ConnectionError(f"the tracker is gone since step {step}")

    def event(self, step: int, kind: str, detail: Mapping[str, object]) -> None:
        pass

    def close(self) -> None:
        pass
