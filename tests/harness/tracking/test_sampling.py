"""Large records: a sample of the lines, and every loss."""

import math
from pathlib import Path

import numpy as np
import pytest

from cortexzoo.harness.bench.generated_runs import experiment, generated_run, metrics_of
from cortexzoo.harness.monitor.run_view import RunView
from cortexzoo.harness.monitor.sources import FolderSource
from cortexzoo.harness.runs.run_folder import METRICS, Run, RunFolderError
from cortexzoo.harness.studies.comparison.reading import read
from cortexzoo.harness.tracking import sampling
from cortexzoo.harness.tracking.jsonl import JsonlSink

STEPS, EACH, LAST = 3000, 50, 5
SPIKE, MISSING = 1234, 1500
"""Steps with a loss that stands out, and with one that is not a number."""


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "LARGE", 1)
    monkeypatch.setattr(sampling, "EACH", EACH)
    monkeypatch.setattr(sampling, "LAST", LAST)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Every hundredth step has two more metrics, every seventh no loss."""
    run = generated_run(tmp_path, experiment(), steps=0)
    sink = JsonlSink(run.path)
    for step in range(1, STEPS + 1):
        values = metrics_of(step)
        if step % 7 == 0:
            del values["train/loss"]
        if step % 100 == 0:
            values |= {"validation/recall": 0.5, "validation/skill": 0.5}
        if step in (SPIKE, MISSING):
            values["train/loss"] = 99.0 if step == SPIKE else math.nan
        sink.metrics(step, values)
    sink.close()
    return run


def test_every_loss_and_a_sample_of_the_lines(run: Run) -> None:
    everything = run.metrics()
    sample = sampling.sampled(run.path / METRICS)
    losses = {line["step"]: line["train/loss"] for line in everything if "train/loss" in line}
    assert sample.steps.tolist() == list(losses)
    assert np.array_equal(sample.losses, np.array(list(losses.values())), equal_nan=True)
    numbers = [number for number, _ in sample.lines]
    assert [line for _, line in sample.lines if line["step"] != MISSING] == [
        everything[number - 1] for number in numbers if number != MISSING
    ]
    assert numbers == sorted(set(numbers)) and len(numbers) <= 5 * EACH + LAST
    assert {1, SPIKE, MISSING, *range(STEPS - LAST + 1, STEPS + 1)} <= set(numbers)
    assert set(range(100, STEPS + 1, 100)) <= set(numbers), "rare lines are not lost among the others"
    assert sample.end == (run.path / METRICS).stat().st_size


def test_a_comparison_counts_spikes_in_all_losses(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sampled = read(run)
    monkeypatch.setattr(sampling, "LARGE", 1 << 40)
    whole = read(run)
    assert sampled.spikes == whole.spikes == 2
    assert len(sampled.series["train/gradient_norm"].steps) < len(whole.series["train/gradient_norm"].steps) == STEPS
    assert set(sampled.series) == set(whole.series)


def test_a_monitor_goes_on_from_the_end_of_the_sample(run: Run) -> None:
    assert sum(len(news.steps) for news in FolderSource(run).news()) < STEPS / 5
    view = RunView(FolderSource(run))
    assert view.look() and view.step == STEPS
    assert any(value == 99.0 for _, value in view.curves["train/loss"].points)
    sink = JsonlSink(run.path)
    sink.metrics(STEPS + 1, {"train/loss": 7.0})
    sink.close()
    assert view.look() and (view.step, view.last["train/loss"]) == (STEPS + 1, 7.0)
    assert not view.look()


def test_an_unfinished_line_waits(run: Run) -> None:
    file = run.path / METRICS
    whole = file.stat().st_size
    with file.open("a") as opened:
        opened.write('{"step": 3001, "train/lo')
    sample = sampling.sampled(file)
    assert (sample.end, sample.lines[-1][0]) == (whole, STEPS)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"step": 5, "train/loss": 1.0, "time": 1.0}', r"metrics\.jsonl:3001: has step 5, which must be above 3000"),
        ("[1, 2]", r"metrics\.jsonl:3001: not a line of metrics"),
        ('{"step": 3001, "train/loss": {}, "time": 1.0}', r"metrics\.jsonl:3001: not a line of metrics"),
        ('{"step": 3001, "train/loss": 1.0, "time": }', r"metrics\.jsonl:3001: not a JSON object"),
        ('{"step": 3001, "train/loss": 1.0, "time": "x"}', r"metrics\.jsonl:3001: time must be a number"),
    ],
)
def test_a_damaged_line_is_named(line: str, said: str, run: Run) -> None:
    with (run.path / METRICS).open("a") as opened:
        opened.write(line + "\n")
    with pytest.raises(RunFolderError, match=said):
        read(run)
