"""One broken sink costs one line; a broken truth stops the run."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from cortexzoo.harness.errors import RunStopped
from cortexzoo.harness.tracking.base import CompositeRecorder


class Remembering:
    """A sink that keeps what it was told, and raises `problem` at every call once it is set."""

    name = "memory"
    identity = None

    def __init__(self, problem: Exception | None = None) -> None:
        self.problem = problem
        self.told: list[object] = []

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._tell(("metrics", step, dict(values)))

    def event(self, step: int, kind: str, detail: Mapping[str, object]) -> None:
        self._tell(("event", step, kind, dict(detail)))

    def outcome(self, summary: Mapping[str, object], *, report: str, picture: Path) -> None:
        self._tell(("outcome", dict(summary), report, picture))

    def close(self) -> None:
        self._tell("close")

    def _tell(self, what: object) -> None:
        self.told.append(what)
        if self.problem is not None:
            raise self.problem


def test_everything_reaches_the_truth_and_every_sink() -> None:
    truth, sink = Remembering(), Remembering()
    recorder = CompositeRecorder(truth, warn=pytest.fail)
    assert recorder.attach("memory", lambda: sink) is sink
    recorder.metrics(1, {"train/loss": 2.0})
    recorder.event(1, "checkpoint", {"name": "best"})
    recorder.close()
    expected = [("metrics", 1, {"train/loss": 2.0}), ("event", 1, "checkpoint", {"name": "best"}), "close"]
    assert truth.told == sink.told == expected


def test_a_sink_that_raises_warns_once_and_is_switched_off() -> None:
    warnings: list[str] = []
    truth, broken, sound = Remembering(), Remembering(OSError("disk\nsecond line")), Remembering()
    recorder = CompositeRecorder(truth, warn=warnings.append)
    recorder.attach("memory", lambda: broken)
    recorder.attach("memory", lambda: sound)
    for step in (1, 2, 3):
        recorder.metrics(step, {})
    recorder.close()
    assert len(broken.told) == 1
    assert len(sound.told) == len(truth.told) == 4
    assert warnings == ["memory tracking disabled after an error; training continues: OSError: disk"]


def test_a_sink_that_cannot_be_opened_warns_once() -> None:
    warnings: list[str] = []

    def opening() -> Remembering:
        raise ModuleNotFoundError("No module named 'aim'")

    recorder = CompositeRecorder(Remembering(), warn=warnings.append)
    assert recorder.attach("Aim", opening) is None
    recorder.metrics(1, {})
    assert warnings == [
        "Aim tracking disabled after an error; training continues: ModuleNotFoundError: No module named 'aim'"
    ]


def test_a_broken_truth_stops_the_run() -> None:
    recorder = CompositeRecorder(Remembering(RunStopped("full")), warn=pytest.fail)
    with pytest.raises(RunStopped, match="full"):
        recorder.metrics(1, {})


def test_an_interrupt_in_a_sink_is_not_swallowed() -> None:
    class Interrupted(Remembering):
        def metrics(self, step: int, values: Mapping[str, float]) -> None:
            raise KeyboardInterrupt

    recorder = CompositeRecorder(Remembering(), warn=pytest.fail)
    recorder.attach("memory", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        recorder.metrics(1, {})
