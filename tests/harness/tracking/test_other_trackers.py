"""W&B and TensorBoard, with the real libraries where they are installed: nox -s integrations."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.runs.train import check_run, train_run
from cortexzoo.harness.tracking import tensorboard, wandb
from cortexzoo.specs.suite import Check, SuiteSpec
from tests.harness.trained import QUIET, small

needs_wandb = pytest.mark.skipif(find_spec("wandb") is None, reason="needs wandb: nox -s integrations")
needs_tensorboard = pytest.mark.skipif(find_spec("tensorboard") is None, reason="needs tensorboard")


def trained(runs: Path, tracker: str, *changes: str, warn: Callable[[str], object] = pytest.fail) -> Run:
    suite = SuiteSpec(name="one", properties={"causality": Check()})
    experiment = small("trackers=[jsonl, " + tracker + "]", *changes).model_copy(update={"suite": suite})
    return train_run(experiment, runs, replace(QUIET, trackers=("jsonl", tracker), warn=warn))  # type: ignore[arg-type]


@needs_wandb
def test_a_run_is_kept_offline_with_its_metrics_alerts_and_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    lines: list[str] = []
    alert = "recipe.alerts=[{when: train/loss > 0, for: 3}]"
    run = trained(tmp_path / "runs", "wandb", alert, warn=lines.append)
    assert [line[: len("alert at step 3:")] for line in lines] == ["alert at step 3:"]
    assert "wandb: no login, so the run is kept in its folder" in capsys.readouterr().err
    assert [event["step"] for event in run.events() if event["kind"] == "alert"] == [3]
    identity = run.manifest["trackers"]["wandb"]
    measured = ("validation/loss", "stability/loss_ratio", "outcome/test_loss", "spec_hash")
    for name in (*measured, "alert at step 3", "WARN", identity):
        assert is_stored(run, name), name
    check_run(run, warn=pytest.fail)
    assert is_stored(run, "outcome/verdicts/causality")


def is_stored(run: Run, text: str) -> bool:
    """Whether it is in the run's files, which W&B's own process writes a moment after the run was finished."""
    for _ in range(40):
        if any(text.encode() in file.read_bytes() for file in run.path.glob("wandb/offline-run-*/run-*.wandb")):
            return True
        time.sleep(0.5)
    return False


@needs_tensorboard
def test_event_files_have_the_curves_and_the_outcome(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = trained(tmp_path / "runs", "tensorboard")
    read = EventAccumulator(str(run.path / "tensorboard"))
    read.Reload()
    recorded = {line["step"]: line["train/loss"] for line in run.metrics()}
    found = {each.step: each.value for each in read.Scalars("train/loss")}
    assert found == pytest.approx(recorded)
    assert read.Scalars("outcome/test_loss")[0].value == pytest.approx(run.summary["test_loss"])
    assert read.Images("curves")


@pytest.mark.parametrize("name", ["wandb", "tensorboard"])
def test_a_package_that_is_missing_costs_one_line_and_no_training(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = {"wandb": wandb, "tensorboard": tensorboard}[name]
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    lines: list[str] = []
    options = replace(QUIET, trackers=("jsonl", name), warn=lines.append)  # type: ignore[arg-type]
    run = train_run(small(), tmp_path, options)
    assert run.summary["status"] == "finished"
    (line,) = lines
    assert line.startswith(f"{name} tracking disabled after an error; training continues: ")
    assert f'pip install "cortexzoo[{name}]"' in line


def test_what_is_nested_is_flat_by_path() -> None:
    content = json.loads('{"a": 1, "verdicts": {"causality": "pass"}, "list": [1], "none": null}')
    assert dict(wandb._flat(content)) == {"a": 1, "verdicts/causality": "pass"}
