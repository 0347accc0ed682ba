"""JSONL keeps every line that was written, whatever ends the run, and reads back what was meant."""

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortexzoo.harness.errors import RunStopped
from cortexzoo.harness.tracking.jsonl import (
    EVENTS,
    METRICS,
    RECORDS,
    JsonlSink,
    cut_after,
    from_json_value,
    read_lines,
    to_json_value,
)


def test_metrics_and_events_read_back(tmp_path: Path) -> None:
    sink = JsonlSink(tmp_path)
    sink.metrics(1, {"train/loss": 2.5, "train/stm_size": 3})
    sink.metrics(2, {"train/loss": math.inf})
    sink.event(2, "step_refused", {"reason": "loss is inf"})
    sink.close()
    first, second = read_lines(tmp_path / METRICS)
    assert first.pop("time") > 0
    assert first == {"step": 1, "train/loss": 2.5, "train/stm_size": 3.0}
    assert second["train/loss"] == math.inf
    (event,) = read_lines(tmp_path / EVENTS)
    assert (event["step"], event["kind"], event["detail"]) == (2, "step_refused", {"reason": "loss is inf"})


def test_every_line_is_strict_json(tmp_path: Path) -> None:
    sink = JsonlSink(tmp_path)
    sink.metrics(1, {"a": math.nan, "b": -math.inf})
    sink.close()

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is no JSON")

    line = json.loads((tmp_path / METRICS).read_text(), parse_constant=refuse)
    assert (line["a"], line["b"]) == ("NaN", "-Infinity")


@given(st.dictionaries(st.text(), st.floats() | st.integers() | st.lists(st.floats()) | st.none() | st.booleans()))
def test_json_values_round_trip(content: dict[str, object]) -> None:
    assert repr(from_json_value(json.loads(json.dumps(to_json_value(content), allow_nan=False)))) == repr(content)


def test_a_killed_run_keeps_what_it_wrote(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from cortexzoo.harness.tracking.jsonl import JsonlSink
        sink = JsonlSink(Path(sys.argv[1]))
        for step in range(1, 6):
            sink.metrics(step, {"train/loss": 1.0 / step})
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=os.getcwd(), check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [line["step"] for line in read_lines(tmp_path / METRICS)] == [1, 2, 3, 4, 5]


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / METRICS
    path.write_text('{"step": 1}\n{"step": 2, "tr')
    assert list(read_lines(path)) == [{"step": 1}]


@pytest.mark.parametrize("damage", ["garbage\n", "[1]\n"])
def test_a_damaged_line_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / METRICS
    path.write_text('{"step": 1}\n' + damage + '{"step": 3}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl:2: not a JSON object"):
        list(read_lines(path))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the full device of Linux")
def test_a_full_disk_stops_the_run(tmp_path: Path) -> None:
    (tmp_path / METRICS).symlink_to("/dev/full")
    sink = JsonlSink(tmp_path)
    sink.event(1, "consolidation", {})
    with pytest.raises(RunStopped, match=r"metrics\.jsonl: cannot be written: No space left on device"):
        sink.metrics(1, {"train/loss": 1.0})
    sink.close()


def test_a_folder_that_is_gone_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(RunStopped, match="cannot be written"):
        JsonlSink(tmp_path / "missing")


def test_records_are_cut_back_to_a_step(tmp_path: Path) -> None:
    path = tmp_path / METRICS
    lines = [f'{{"step": {step}}}\n' for step in (1, 2, 2, 3)]
    for step, kept in ((0, 0), (2, 3), (3, 4), (9, 4)):
        path.write_text("".join(lines) + '{"step": 4, "tr')
        cut_after([path], step)
        assert path.read_text() == "".join(lines[:kept])
    cut_after([tmp_path / "none.jsonl"], 3)


def test_a_damaged_record_is_not_cut(tmp_path: Path) -> None:
    path, whole = tmp_path / METRICS, tmp_path / "whole.jsonl"
    path.write_text('{"step": 1}\ngarbage\n{"step": 3}\n')
    whole.write_text('{"step": 1}\n{"step": 2}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl:2: not a JSON object"):
        cut_after([whole, path], 1)
    assert path.read_text().count("\n") == 3
    assert whole.read_text().count("\n") == 2


def test_what_a_checkpoint_has_behind_it_is_on_disk_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synchronised: list[int] = []
    monkeypatch.setattr(os, "fsync", synchronised.append)
    sink = JsonlSink(tmp_path)
    sink.metrics(1, {"train/loss": 1.0})
    sink.event(1, "consolidation", {})
    assert synchronised == []
    sink.event(1, "checkpoint", {"name": "last"})
    assert len(synchronised) == 2
    sink.close()


def test_what_is_told_of_documents_and_of_drift_has_files_of_its_own(tmp_path: Path) -> None:
    sink = JsonlSink(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {METRICS, EVENTS}, "no empty files for runs without records"
    sink.event(0, "drift", {"epoch": 0, "perplexity": math.inf})
    for step in (1, 2):
        sink.event(step, "sample", {"document": 0, "gap": 4})
        sink.metrics(step, {"train/loss": 1.0})
    sink.event(2, "checkpoint", {"folder": "last"})
    sink.close()
    (drift,) = read_lines(tmp_path / RECORDS["drift"])
    assert drift.pop("time") > 0
    assert drift == {"step": 0, "epoch": 0, "perplexity": math.inf}
    assert [line["step"] for line in read_lines(tmp_path / RECORDS["sample"])] == [1, 2]
    assert [line["kind"] for line in read_lines(tmp_path / EVENTS)] == ["checkpoint"]
    cut_after([tmp_path / name for name in RECORDS.values()], 1)
    assert [line["step"] for line in read_lines(tmp_path / RECORDS["sample"])] == [1]
    again = JsonlSink(tmp_path)
    again.event(2, "sample", {"document": 0, "gap": 1})
    again.close()
    assert [line["gap"] for line in read_lines(tmp_path / RECORDS["sample"])] == [4, 1]
