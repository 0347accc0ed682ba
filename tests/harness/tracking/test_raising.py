"""A tracker with a fault is switched off at its step, with one line, and the others go on."""

from pathlib import Path

from cortexzoo.harness.tracking.base import CompositeRecorder
from cortexzoo.harness.tracking.jsonl import METRICS, JsonlSink, read_lines
from cortexzoo.harness.tracking.raising import RaisingSink


def test_it_is_switched_off_at_its_step_and_nothing_is_lost(tmp_path: Path) -> None:
    told: list[str] = []
    recorder = CompositeRecorder(JsonlSink(tmp_path), warn=told.append)
    assert recorder.attach(RaisingSink.name, lambda: RaisingSink(3)) in recorder.working
    for step in range(1, 6):
        recorder.metrics(step, {"train/loss": 1.0})
        assert bool(recorder.working) == (step < 3)
    recorder.close()
    assert told == [
        "faulty tracking disabled after an error; training continues: ConnectionError: the tracker is gone since step 3"
    ]
    assert [line["step"] for line in read_lines(tmp_path / METRICS)] == [1, 2, 3, 4, 5]
