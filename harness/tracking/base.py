"""What happens during a run goes to the truth first (JSONL), then to sinks that may fail without stopping anything."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from cortexzoo.harness.errors import in_one_line
from cortexzoo.harness.tracking.alerts import KIND, Alerts
from cortexzoo.harness.tracking.deadlines import CLOSING, OPENING, DeadlineMissed, call_within
from cortexzoo.specs import ExperimentSpec


@dataclass(frozen=True)
class TrackedRun:
    """A run as its trackers see it."""

    folder: Path
    """`RUNS/EXPERIMENT/RUN`."""
    experiment: ExperimentSpec
    identity: str | None = None
    """The identity of the run in a tracker from an earlier process; None: it has none yet."""

    @property
    def runs(self) -> Path:
        """The folder of all runs."""
        return self.folder.parent.parent


class Sink(Protocol):
    """One place that metrics, events and outcomes go to."""

    name: str
    """As in the list of trackers."""

    @property
    def identity(self) -> str | None:
        """By which a later process opens the run of this sink again; None where it needs nothing."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """All metrics of one optimiser step, by name."""

    def event(self, step: int, kind: str, detail: Mapping[str, object]) -> None:
        """Something that happened besides."""

    def outcome(self, summary: Mapping[str, object], *, report: str, picture: Path) -> None:
        """How the run ended: the content of `summary.json`, the verdicts in words or "", the curves if they exist.

        Given after training, and again after each check of the run.
        """

    def close(self) -> None:
        """Nothing more will come."""


SinkT = TypeVar("SinkT", bound=Sink)
Warn = Callable[[str], None]
T = TypeVar("T")
_failures: list[object] = []
"""What failed sinks raised. An exception keeps its frames: were they collected, finalisers of a sink could run in the
middle of training, and wait for ever."""


class CompositeRecorder:
    """A `Recorder`: `truth` must work, each attached sink is switched off when it fails.

    A sink that raises costs one line through `warn`; what it raised never reaches training.
    Raises `RunStopped`, from `truth` only.
    """

    def __init__(self, truth: Sink, *, warn: Warn) -> None:
        self._truth = truth
        self.working: list[Sink] = []
        """The attached sinks that have not failed."""
        self._warn = warn
        self.alerts = Alerts(())
        self.folder = ""
        """Of the run, for the command of an alert."""

    def attach(self, name: str, opening: Callable[[], SinkT]) -> SinkT | None:
        """Open one more sink; None when that failed, which costs one line through `warn`."""
        sink = guarded(name, OPENING, opening, self._warn)
        if sink is not None:
            self.working.append(sink)
        return sink

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._truth.metrics(step, values)
        self._for_each(lambda sink: sink.metrics(step, values))
        for fired in self.alerts.see(values):
            self.event(step, KIND, fired.detail())
            self._warn(fired.in_words(step))
            self.alerts.start_command(step, fired, self.folder, self._warn)

    def event(self, step: int, kind: str, detail: Mapping[str, object]) -> None:
        self._truth.event(step, kind, detail)
        self._for_each(lambda sink: sink.event(step, kind, detail))

    def outcome(self, summary: Mapping[str, object], *, report: str, picture: Path) -> None:
        """How the run ended, for the attached sinks, each within `OPENING` seconds: a picture may be large."""
        self._for_each(
            lambda sink: call_within(
                OPENING, f"the outcome for {sink.name}", lambda: sink.outcome(summary, report=report, picture=picture)
            )
        )

    def close(self) -> None:
        """Close every sink, each within `CLOSING` seconds."""
        self.alerts.close(self._warn)
        self._for_each(lambda sink: call_within(CLOSING, f"closing {sink.name}", sink.close))
        self._truth.close()

    def _for_each(self, action: Callable[[Sink], None]) -> None:
        for sink in list(self.working):
            try:
                action(sink)
            except Exception as problem:
                self.working.remove(sink)
                _failures.extend((sink, problem))
                self._warn(switched_off(sink.name, problem))


def guarded(name: str, seconds: float, action: Callable[[], T], warn: Warn) -> T | None:
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
