"""A run on disk as the dashboard sees it, while it is written and afterwards."""

import time
from pathlib import Path

import pytest

from cortexzoo.harness.bench.generated_runs import experiment, generated_run, metrics_of
from cortexzoo.harness.monitor.choosing import MOST, chosen_runs
from cortexzoo.harness.monitor.run_view import RunView
from cortexzoo.harness.monitor.sources import FolderSource
from cortexzoo.harness.runs.run_folder import Run, RunFolderError
from cortexzoo.harness.tracking.jsonl import METRICS, JsonlSink


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return generated_run(tmp_path, experiment(), steps=3, finished=False)


def test_it_follows_what_is_written(run: Run) -> None:
    view = RunView(FolderSource(run))
    assert view.look()
    assert (view.step, view.steps, view.status) == (3, 500, "running")
    assert view.last["train/loss"] == metrics_of(3)["train/loss"]
    assert view.gate_shares == {"current": 0.4, "short_term": 0.35, "long_term": 0.25}
    assert (view.capacity("stm"), view.capacity("ltm"), view.clip) == (128, 786_432, "0.5")
    assert not view.look()
    sink = JsonlSink(run.path)
    sink.metrics(4, metrics_of(4))
    assert view.look()
    assert view.step == 4 and len(view.curves["train/loss"].points) == 4
    run.write_json("summary.json", {"status": "finished"})
    assert view.look()
    assert view.status == "finished" and view.seconds_left is None
    sink.close()


def test_time_left_is_that_of_the_last_steps(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (f'{{"step": {step}, "train/loss": 1.0, "time": {1000 + 2 * step}}}\n' for step in range(1, 11))
    (run.path / METRICS).write_text("".join(lines))
    monkeypatch.setattr(time, "time", lambda: 1021.0)
    view = RunView(FolderSource(run))
    view.look()
    assert view.seconds_left == 2 * 490
    monkeypatch.setattr(time, "time", lambda: 1095.0)
    view.look()
    assert view.status == "silent for 1 min" and view.seconds_left is None


def test_events_are_listed_and_frequent_ones_counted(run: Run) -> None:
    sink = JsonlSink(run.path)
    sink.event(1, "consolidation", {"ltm": 1})
    sink.event(2, "checkpoint", {"name": "last"})
    sink.event(3, "consolidation", {"ltm": 2})
    sink.event(4, "rollback", {"cause": "loss is a spike"})
    sink.event(5, "rollback", {"cause": "again"})
    sink.close()
    view = RunView(FolderSource(run))
    view.look()
    told = [(event.step, event.kind, event.detail, event.count) for event in view.events]
    assert told == [
        (3, "consolidation", "ltm 2", 2),
        (4, "rollback", "cause loss is a spike", 1),
        (5, "rollback", "cause again", 1),
    ]


def test_a_run_that_was_resumed_from_an_earlier_step_is_read_anew(run: Run) -> None:
    view = RunView(FolderSource(run))
    view.look()
    text = (run.path / METRICS).read_text().splitlines(keepends=True)
    (run.path / METRICS).write_text(text[0])
    assert view.look()
    assert view.step == 1 and len(view.curves["train/loss"].points) == 1


def test_a_run_that_writes_nothing_yet(tmp_path: Path) -> None:
    view = RunView(FolderSource(Run.create(tmp_path, experiment())))
    view.look()
    assert (view.step, view.status, view.seconds_left, view.gate_shares) == (0, "starting", None, {})


def test_folders_stand_for_the_runs_that_were_written_last(tmp_path: Path) -> None:
    made = [generated_run(tmp_path, experiment(seed), steps=1) for seed in range(MOST + 1)]
    import os

    for age, run in enumerate(made):
        os.utime(run.path / METRICS, (1000 - age, 1000 - age))
    for folder in (tmp_path, tmp_path / "cortexgpt-stable"):
        chosen, left_out = chosen_runs([folder])
        assert [run.path for run in chosen] == [run.path for run in made[:MOST]]
        assert left_out == 1
    (only,), left_out = chosen_runs([made[-1].path])
    assert only.path == made[-1].path and left_out == 0
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunFolderError, match="contains no run"):
        chosen_runs([tmp_path / "empty"])


def test_the_clip_threshold_is_the_live_one_where_it_is_recorded(run: Run) -> None:
    view = RunView(FolderSource(run))
    view.look()
    assert view.clip == "0.5"
    sink = JsonlSink(run.path)
    sink.metrics(4, {**metrics_of(4), "stability/clip_threshold": 0.0625})
    sink.close()
    view.look()
    assert view.clip == "0.0625"
