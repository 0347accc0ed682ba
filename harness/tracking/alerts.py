"""Alerts: which conditions on metrics have become true, and the user's own command that is then started."""

import difflib
import operator
import os
import shlex
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from shutil import which

from cortexzoo.harness.errors import BadInput
from cortexzoo.specs.alert import AlertSpec

COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
KIND = "alert"
"""Of the event."""
SECONDS = 60
"""A command that takes longer is ended."""


@dataclass(frozen=True)
class Fired:
    """A condition that has become true."""

    when: str
    metric: str
    value: float

    def in_words(self, step: int) -> str:
        """One line."""
        return f"alert at step {step}: {self.when} ({self.metric} is {self.value:.6g})"

    def detail(self) -> dict[str, object]:
        """Of its event."""
        return {"when": self.when, "metric": self.metric, "value": self.value}


@dataclass
class _Watched:
    spec: AlertSpec
    streaks: dict[str, int] = field(default_factory=dict)
    """For how many records in a row the condition is true, by metric."""
    fired: bool = False

    def see(self, values: Mapping[str, float]) -> Fired | None:
        name, sign, bound = self.spec.parts
        found = None
        for metric in (each for each in values if stands_for(name, each)):
            true = COMPARE[sign](values[metric], bound)
            self.streaks[metric] = self.streaks.get(metric, 0) + 1 if true else 0
            if found is None and self.streaks[metric] >= self.spec.steps:
                found = Fired(self.spec.when, metric, values[metric])
        if found is not None and not self.fired:
            self.fired = True
            return found
        if not any(streak >= self.spec.steps for streak in self.streaks.values()):
            self.fired = False
        return None


class Alerts:
    """The alerts of one run. Their state follows from the metrics: a resumed run shows them those before."""

    def __init__(self, specs: Sequence[AlertSpec], command: Sequence[str] = ()) -> None:
        self._watched = [_Watched(spec) for spec in specs]
        self._seen: set[str] = set()
        self._command = tuple(command)
        self._started: list[threading.Thread] = []

    def see(self, values: Mapping[str, float]) -> list[Fired]:
        """Which conditions have become true with the metrics of one more step."""
        if not self._watched:
            return []
        self._seen.update(values)
        return [fired for each in self._watched if (fired := each.see(values)) is not None]

    def start_command(self, step: int, fired: Fired, folder: str, warn: Callable[[str], None]) -> None:
        """Start the user's command beside training, with the alert in its environment; a failure costs one line."""
        if not self._command:
            return
        told = {
            "CORTEXZOO_ALERT": fired.in_words(step), "CORTEXZOO_STEP": str(step), "CORTEXZOO_RUN": folder,
            "CORTEXZOO_METRIC": fired.metric, "CORTEXZOO_VALUE": repr(fired.value),
        }  # fmt: skip
        thread = threading.Thread(target=_run, args=(self._command, told, warn), daemon=True)
        thread.start()
        self._started.append(thread)

    def close(self, warn: Callable[[str], None]) -> None:
        """Wait for commands, and name the metrics that no step recorded."""
        for thread in self._started:
            thread.join(SECONDS)
        for watched in self._watched if self._seen else ():
            name = watched.spec.parts[0]
            if not watched.streaks:
                known = {"/".join(metric.split("/")[at:]) for metric in self._seen for at in range(3)} - {""}
                nearest = difflib.get_close_matches(name, sorted(known), n=1)
                hint = f": did you mean {nearest[0]}?" if nearest else ""
                warn(f"alert {watched.spec.when}: no step recorded a metric {name}{hint}")


def stands_for(name: str, metric: str) -> bool:
    """Whether the path of a metric contains the name, word for word."""
    return f"/{name}/" in f"/{metric}/"


def parse_command(text: str) -> list[str]:
    """The words of a command line, whose program must exist. Raises `BadInput`."""
    try:
        words = shlex.split(text)
    except ValueError as problem:
        raise BadInput(f"--on-alert: {problem}: {text}") from problem
    if not words or which(words[0]) is None:
        raise BadInput(f"--on-alert: there is no program {words[0] if words else text!r}")
    return words


def _run(command: Sequence[str], told: Mapping[str, str], warn: Callable[[str], None]) -> None:
    try:
        done = subprocess.run(
            command, env={**os.environ, **told}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, timeout=SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as problem:
        warn(f"--on-alert {command[0]}: {problem}")
    else:
        if done.returncode:
            warn(f"--on-alert {command[0]}: ended with exit code {done.returncode}")
