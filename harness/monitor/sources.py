"""Where a dashboard gets a run's records from: its folder, which is the source, or Aim's repository."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cortexzoo.harness.runs.file_models import event_mistake, record_mistake
from cortexzoo.harness.runs.run_folder import SUMMARY, Run, RunFolderError
from cortexzoo.harness.tracking.aim.reading import AimRun, read_run
from cortexzoo.harness.tracking.aim.sink import REPOSITORY, AimError
from cortexzoo.harness.tracking.jsonl import EVENTS, METRICS
from cortexzoo.harness.tracking.tail import Tail
from cortexzoo.harness.tracking.wandb import RemoteRun
from cortexzoo.specs import ExperimentSpec

AIM_EVERY = 5.0
"""Seconds between two looks into Aim's repository, each of which reads all curves of the run."""


REMOTE_EVERY = 15.0
"""Seconds between two questions to a W&B server."""


@dataclass(frozen=True)
class News:
    """What came since the last look."""

    restarted: bool = False
    """Everything before is void: the run was resumed from an earlier step."""
    steps: list[dict[str, Any]] = field(default_factory=list)
    """Metrics by name, with `step` and `time`, ascending."""
    events: list[tuple[int, str, str]] = field(default_factory=list)
    """Step, kind, and the rest in words."""


class Source(Protocol):
    """The records of one run."""

    path: Path
    experiment: ExperimentSpec

    def news(self) -> Iterator[News]:
        """What came since the last look, in pieces. Raises `OSError`, or the error of what is read."""

    def outcome(self) -> str | None:
        """How training ended; None while it has not."""


class FolderSource:
    """A run folder, of which only what is new is read; of a large record that was there before, a sample."""

    def __init__(self, run: Run) -> None:
        self.path = run.path
        self.experiment: ExperimentSpec = run.spec
        self._run = run
        self._metrics = Tail(run.path / METRICS)
        self._events = Tail(run.path / EVENTS)
        self._begun = False

    def news(self) -> Iterator[News]:
        if not self._begun:
            self._begun = True
            if (self.path / METRICS).exists() and (sample := self._run.sampled_metrics()) is not None:
                self._metrics = Tail(self._metrics.path, sample.end)
                yield News(steps=[line for _, line in sample.lines])
        while True:
            steps = _sound(self._metrics, lambda line: record_mistake(line, -1))
            restarted = self._metrics.restarted
            if restarted:
                self._events = Tail(self._events.path)
            yield News(restarted, steps)
            if self._metrics.at_the_end:
                break
        events = _sound(self._events, lambda line: event_mistake(line, 0))
        if events:
            yield News(events=[(line["step"], line["kind"], _in_words(line["detail"])) for line in events])

    def outcome(self) -> str | None:
        if not (self.path / SUMMARY).is_file():
            return None
        try:
            return str(self._run.summary.get("status", "ended"))
        except RunFolderError:
            return "its summary cannot be read"


def _sound(tail: Tail, mistake: Callable[[dict[str, Any]], str | None]) -> list[dict[str, Any]]:
    """What came since the last look. Raises `RunFolderError` for a line that no run writes."""
    lines = tail.lines()
    for line in lines:
        if wrong := mistake(line):
            raise RunFolderError(f"{tail.path}: is damaged: {wrong}")
    return lines


class AimSource:
    """A run in the repository `runs/.aim`, by its hash. Raises `AimError` when it is not there or names no spec."""

    def __init__(self, runs: Path, run_hash: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._runs, self._hash, self._clock = runs, run_hash, clock
        self._found: AimRun = read_run(runs, run_hash)
        parameters = self._found.parameters
        self.path = runs / REPOSITORY / str(parameters.get("folder", run_hash))
        if "spec" not in parameters:
            raise AimError(
                f"{self.path}: comes from an older cortexzoo, without its spec: `cortexzoo aim-sync` writes it again"
            )
        self.experiment = ExperimentSpec.from_json(str(parameters["spec"]))
        self._looked: float | None = None
        self._reported = (0, 0)
        """The last step and the number of events so far."""

    def news(self) -> Iterator[News]:
        now = self._clock()
        if self._looked is not None and now - self._looked < AIM_EVERY:
            return
        if self._looked is not None:
            self._found = read_run(self._runs, self._hash)
        self._looked = now
        last, events = self._reported
        found = self._found
        newest = int(found.steps[-1]["step"]) if found.steps else 0
        restarted = newest < last or len(found.events) < events
        if restarted:
            last = events = 0
        self._reported = (newest, len(found.events))
        yield News(restarted, [line for line in found.steps if line["step"] > last], found.events[events:])

    def outcome(self) -> str | None:
        summary = self._found.parameters.get("summary")
        status = summary.get("status") if isinstance(summary, dict) else None
        return None if status in (None, "unfinished") else str(status)


class WandbSource:
    """A run on a W&B server, by its path there. W&B keeps no events but alerts, so none are shown.

    Raises `WandbError`.
    """

    def __init__(self, run: RemoteRun, clock: Callable[[], float] = time.monotonic) -> None:
        self._run, self._clock = run, clock
        self.path = Path(run.path)
        self.experiment = ExperimentSpec.from_json(run.spec)
        self._looked: float | None = None
        self._last = 0

    def news(self) -> Iterator[News]:
        now = self._clock()
        if self._looked is not None and now - self._looked < REMOTE_EVERY:
            return
        if self._looked is not None:
            self._run.refresh()
        self._looked = now
        steps = self._run.steps(self._last)
        if steps:
            self._last = int(steps[-1]["step"])
        yield News(steps=steps)

    def outcome(self) -> str | None:
        return self._run.outcome


def _in_words(detail: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in detail.items())
