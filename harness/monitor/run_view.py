"""What a run has come to so far, kept up to date from the records that it gains."""

import time
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Any

from cortexzoo.harness.monitor.curve import Thinned
from cortexzoo.harness.monitor.sources import Source
from cortexzoo.harness.runs.run_folder import RunFolderError
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.guards import AdaptiveClipping, NormClipping
from cortexzoo.specs.metrics import GATE_SHARE
from cortexzoo.specs.variant import CortexGPTSpec

DRAWN = ("train/loss", "probe/loss", "validation/loss", "stability/loss_ratio", "train/gradient_norm")
COUNTED = frozenset({"consolidation", "step_refused"})
"""Events that may come often: in a row they are counted, and the last one is shown."""
LEFT_OUT = frozenset({"checkpoint"})
EVENTS_KEPT = 200
STEPS_TIMED = 100
SILENT_AFTER = 30.0
"""Seconds without a new step after which an unfinished run is shown as silent."""


@dataclass
class Event:
    """One line of the log."""

    step: int
    kind: str
    detail: str
    count: int = 1


class RunView:
    """The state of one run. `look` brings it up to date."""

    def __init__(self, source: Source) -> None:
        self.path = source.path
        self.experiment: ExperimentSpec = source.experiment
        self.status = ""
        self._source = source
        self._forget()

    def look(self) -> bool:
        """Take in what is new; whether anything was. Raises `RunFolderError` or `AimError` when it cannot be read."""
        changed = False
        try:
            for news in self._source.news():
                if news.restarted:
                    self._forget()
                for line in news.steps:
                    self._take_step(line)
                for event in news.events:
                    self._take_event(*event)
                changed |= news.restarted or bool(news.steps or news.events)
        except OSError as problem:
            raise RunFolderError(f"{self.path}: cannot be read: {problem.strerror or problem}") from problem
        status = self._status()
        changed |= status != self.status
        self.status = status
        return changed

    @property
    def steps(self) -> int:
        """All steps of the recipe."""
        return self.experiment.recipe.steps

    @property
    def seconds_left(self) -> float | None:
        """At the pace of the last steps; None: not known, or nothing is left."""
        if self.status != "running" or len(self._times) < 2:
            return None
        (first, began), (last, ended) = self._times[0], self._times[-1]
        return (ended - began) / max(last - first, 1) * (self.steps - self.step)

    @property
    def clip(self) -> str:
        """At what gradient norms are clipped: in the last step, or else as in the recipe."""
        if (threshold := self.last.get("stability/clip_threshold")) is not None:
            return f"{threshold:.3g}"
        clipping = self.experiment.recipe.clipping
        if isinstance(clipping, NormClipping | AdaptiveClipping):
            return f"{'at most ' if isinstance(clipping, AdaptiveClipping) else ''}{clipping.max_norm:g}"
        return clipping.kind

    @property
    def gate_shares(self) -> dict[str, float]:
        """The last share of each source."""
        return {
            name.removeprefix(GATE_SHARE): value for name, value in self.last.items() if name.startswith(GATE_SHARE)
        }

    def capacity(self, memory: str) -> int | None:
        """Capacity of a memory in entries: `stm` or `ltm`; None: it is unbounded, or there is none."""
        variant = self.experiment.variant
        if not isinstance(variant, CortexGPTSpec):
            return None
        part = variant.memory.short_term if memory == "stm" else variant.memory.long_term
        found = getattr(part, "capacity", None)
        return None if found is None else int(found)

    def _forget(self) -> None:
        self.step = 0
        self.last: dict[str, float] = {}
        self.curves: defaultdict[str, Thinned] = defaultdict(Thinned)
        self.gates: deque[dict[str, float]] = deque(maxlen=256)
        """Gate shares of the last steps."""
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._times: deque[tuple[int, float]] = deque(maxlen=STEPS_TIMED)

    def _take_step(self, line: dict[str, Any]) -> None:
        self.step = int(line["step"])
        for name, value in line.items():
            if name not in ("step", "time"):
                self.last[name] = value
        for name in DRAWN:
            if name in line:
                self.curves[name].add(self.step, line[name])
        shares = {name.removeprefix(GATE_SHARE): line[name] for name in line if name.startswith(GATE_SHARE)}
        if shares:
            self.gates.append(shares)
        if "time" in line:
            self._times.append((self.step, line["time"]))

    def _take_event(self, step: int, kind: str, words: str) -> None:
        if kind in LEFT_OUT:
            return
        event = Event(step, kind, words)
        if self.events and self.events[-1].kind == kind and kind in COUNTED:
            event.count += self.events.pop().count
        self.events.append(event)

    def _status(self) -> str:
        if (outcome := self._source.outcome()) is not None:
            return outcome
        if not self._times:
            return "starting"
        silent = time.time() - self._times[-1][1]
        return f"silent for {_duration(silent)}" if silent > SILENT_AFTER else "running"


def _duration(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{int(seconds)} s" if minutes < 1 else f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
