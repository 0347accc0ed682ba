"""Alerts: when a condition on a metric counts as true, and who is told."""

import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from cortexzoo.harness.cli import main
from cortexzoo.harness.errors import BadInput
from cortexzoo.harness.runs.options import RunOptions
from cortexzoo.harness.runs.resume import resume_run
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.runs.train import train_run
from cortexzoo.harness.tracking.alerts import Alerts, parse_command, stands_for
from cortexzoo.specs.alert import AlertSpec
from tests.harness.trained import QUIET, killed_small, small

ALERT = "recipe.alerts=[{when: gradient_norm >= 0, for: 6}, {when: no_such_loss > 1}]"


def alert(when: str, steps: int = 1) -> AlertSpec:
    return AlertSpec.model_validate({"when": when, "for": steps})


def fired_at(spec: AlertSpec, values: Sequence[float | None]) -> list[int]:
    alerts = Alerts([spec])
    return [at for at, value in enumerate(values) if alerts.see({} if value is None else {"train/loss": value})]


@pytest.mark.parametrize(
    ("when", "steps", "values", "expected"),
    [
        ("loss > 3", 1, [3, 4, 5, 2, 4], [1, 4]),
        ("loss >= 3", 1, [3, 4], [0]),
        ("loss < 3", 1, [3, 2.9], [1]),
        ("train/loss <= -1e-1", 1, [0, -0.1], [1]),
        ("loss > 3", 3, [4, 4, 2, 4, 4, 4, 4, 0, 4, 4, 4], [5, 10]),
        ("loss > 3", 2, [4, None, 4], [2]),
        ("loss > 3", 1, [float("nan"), float("inf")], [1]),
        ("lo > 3", 1, [4], []),
        ("probe/loss > 3", 1, [4], []),
    ],
)
def test_an_alert_comes_once_and_again_after_its_condition_was_false(
    when: str, steps: int, values: list[float | None], expected: list[int]
) -> None:
    assert fired_at(alert(when, steps), values) == expected


@pytest.mark.parametrize("when", ["loss", "loss > x", "> 3", "loss = 3", "loss > 3 4", "loss > nan", ""])
def test_what_is_no_comparison_is_refused(when: str) -> None:
    with pytest.raises(ValueError, match="METRIC, one of"):
        alert(when)


def test_a_name_stands_for_each_metric_whose_path_contains_it() -> None:
    assert stands_for("gate_share", "memory/gate_share/short_term")
    assert stands_for("gate_share/short_term", "memory/gate_share/short_term")
    assert not stands_for("gate", "memory/gate_share/short_term")
    alerts = Alerts([alert("gate_share < 0.02", 2)])
    one, other = {"memory/gate_share/a": 0.01}, {"memory/gate_share/b": 0.01}
    assert not alerts.see({**one, "memory/gate_share/b": 0.5})
    assert not alerts.see({"memory/gate_share/a": 0.5, **other}), "another metric counts for itself"
    (fired,) = alerts.see(other)
    assert fired.in_words(7) == "alert at step 7: gate_share < 0.02 (memory/gate_share/b is 0.01)"


def test_alerts_reach_terminal_events_and_a_command_and_change_no_number(tmp_path: Path) -> None:
    command = tmp_path / "told.sh"
    command.write_text(f'#!/bin/sh\necho "$CORTEXZOO_STEP $CORTEXZOO_METRIC $CORTEXZOO_RUN" >> {tmp_path}/told.txt\n')
    command.chmod(command.stat().st_mode | stat.S_IEXEC)
    lines: list[str] = []
    watched = small(ALERT)
    run = train_run(watched, tmp_path, RunOptions(trackers=(), warn=lines.append, on_alert=[str(command)]))
    (event,) = (event for event in run.events() if event["kind"] == "alert")
    assert event["step"] == 6, "six steps in a row"
    assert event["detail"]["metric"] == "train/gradient_norm"
    assert lines == [
        f"alert at step 6: gradient_norm >= 0 (train/gradient_norm is {event['detail']['value']:.6g})",
        "alert no_such_loss > 1: no step recorded a metric no_such_loss",
    ]
    assert (tmp_path / "told.txt").read_text() == f"6 train/gradient_norm {run.path}\n"
    assert watched.hash() == small().hash()
    assert train_run(small(), tmp_path, QUIET).summary["test_loss"] == run.summary["test_loss"]


def test_a_resumed_run_does_not_repeat_an_alert(tmp_path: Path) -> None:
    begun = killed_small(tmp_path, 11, ALERT.replace(", {when: no_such_loss > 1}", ""), warn=print)
    assert [event["kind"] for event in begun.events()].count("alert") == 1
    run = resume_run(begun.path, begun.spec, options=replace(QUIET, warn=pytest.fail))
    assert [event["kind"] for event in Run.open(run.path).events()].count("alert") == 1


@pytest.mark.parametrize("text", ["no-such-program-anywhere x", "", "'open"])
def test_a_command_that_cannot_be_started_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="--on-alert"):
        parse_command(text)


def test_a_command_that_fails_costs_one_line(tmp_path: Path) -> None:
    lines: list[str] = []
    alerts = Alerts([alert("loss > 1")], parse_command(f"{os.environ.get('SHELL', '/bin/sh')} -c 'exit 3'"))
    (fired,) = alerts.see({"train/loss": 2.0})
    alerts.start_command(1, fired, str(tmp_path), lines.append)
    alerts.close(lines.append)
    assert [line.rpartition(":")[2] for line in lines] == [" ended with exit code 3"]


def test_a_command_without_alerts_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "transformer", "--on-alert", "true"]) == 2
    assert "--on-alert: the recipe has no alerts" in capsys.readouterr().err
