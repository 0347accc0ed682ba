"""What happens during a run goes to the truth first (JSONL), then to sinks that may fail without stopping anything."""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from cortexzoo.harness.errors import in_one_line
from cortexzoo.harness.tracking.deadlines import CLOSING, OPENING, DeadlineMissed, call_within


class Sink(Protocol):
    """One place that metrics and events go to."""

    name: str

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """All metrics of one optimiser step, by name."""

    def event(self, step: int, kind: str, detail: Mapping[str, object]) -> None:
        """Something that happened besides."""

    def close(self) -> None:
        """Nothing more will come."""


SinkT = TypeVar("SinkT", bound=Sink)
T = TypeVar("T")
_failures: list[object] = []
"""What failed sinks raised. An exception keeps its frames: were they collected, finalisers of a sink could run in the
middle of training, and wait for ever."""


class CompositeRecorder:
    """A `Recorder`: `truth` must work, each attached sink is switched off when it fails.

    A sink that raises costs one line through `warn`; what it raised never reaches training.
    Raises `RunStopped`, from `truth` only.
    """

    def __init__(self, truth: Sink, *, warn: Callable[[str], None]) -> None:
        self._truth = truth
        self.working: list[Sink] = []
        """The attached sinks that have not failed."""
        self._warn = warn

    def attach(self, name: str, opening: Callable[[], SinkT]) -> SinkT | None:
        """Open one more sink; None when that failed, which costs one line through `warn`."""
        sink = guarded(name, OPENING, opening, self._warn)
        if sink is not None:
            self.working.append(sink)
        return sink

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._truth.metrics(step, values)
        self._tell(lambda sink: sink.metrics(step, values))

    def event(self, step: int, kind: str, detail: Mapping[str, object]) -> None:
        self._truth.event(step, kind, detail)
        self._tell(lambda sink: sink.event(step, kind, detail))

    def close(self) -> None:
        """Close every sink, each within `CLOSING` seconds."""
        self._tell(lambda sink: call_within(CLOSING, f"closing {sink.name}", sink.close))
        self._truth.close()

    def _tell(self, message: Callable[[Sink], None]) -> None:
        for sink in list(self.working):
            try:
                message(sink)
            except Exception as problem:
                self.working.remove(sink)
                _failures.extend((sink, problem))
                self._warn(switched_off(sink.name, problem))


def guarded(name: str, seconds: float, action: Callable[[], T], warn: Callable[[str], None]) -> T | None:
    """What `action` of the sink `name` returns; None when it raised or took too long, which costs one line."""
    try:
        return call_within(seconds, f"tracking with {name}", action)
    except Exception as problem:
        _failures.append(problem)
        warn(switched_off(name, problem))
        return None


def switched_off(name: str, problem: BaseException) -> str:
    """The one line about a sink that failed."""
    reason = str(problem) if isinstance(problem, DeadlineMissed) else in_one_line(problem)
    return f"{name} tracking disabled after an error; training continues: {reason}"
