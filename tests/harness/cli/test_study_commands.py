"""What drill, frontier, ablate and `train --inject` print, write and end with."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cortexzoo.harness.cli import main
from cortexzoo.harness.cli.study_commands import parse_rates
from cortexzoo.harness.errors import BadInput
from cortexzoo.harness.runs.find import finished_runs
from cortexzoo.harness.runs.run_folder import FAULTS, Run
from cortexzoo.harness.studies import ablation, drill, frontier
from cortexzoo.harness.studies.ablation import Worth
from cortexzoo.harness.studies.drill_run import DrillResult
from cortexzoo.harness.studies.frontier import Curve, Point
from cortexzoo.harness.studies.multi_seed import Trained
from cortexzoo.specs import load
from cortexzoo.specs.fault import FaultSpec
from tests.harness.studies.test_drill import CLEAN
from tests.harness.trained import SMALL, small

CHANGES = [part for change in SMALL for part in ("--set", change)]


@pytest.fixture
def met(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drills that take no time, and in which every fault is met as declared but the last."""
    outcomes = {
        "skip": replace(CLEAN, refused=1, acted="refused 1: loss is nan", state={}),
        "rollback": replace(CLEAN, rollbacks=1, undone=7, refused=1, acted="back to step 60: weight", state={}),
        "stop": replace(CLEAN, ended="stopped", stops=("damaged",), final_loss=None, finite=False, state={}),
        "harmless": CLEAN,
        "undetected": replace(CLEAN, state={}, final_loss=2.04),
    }

    def run_all(_: Any, faults: Mapping[str, FaultSpec], *__: Any, **___: Any) -> Iterator[tuple[str, DrillResult]]:
        yield drill.CONTROL, CLEAN
        for name, fault in faults.items():
            yield name, CLEAN if name == "full-disk" else outcomes[fault.expect]

    monkeypatch.setattr(drill, "drill", run_all)


@pytest.mark.usefixtures("met")
def test_drill_prints_a_verdict_for_each_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["drill", "cortexgpt-stable", "--runs", str(tmp_path), "--json", str(tmp_path / "drill.json")]
    assert main([*command, "--only", "nan-loss", "--only", "nan-weight", "--only", "killed-in-save"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["fault", "expected"]
    assert lines[1].split()[:3] == ["no", "fault", "nothing"]
    assert " ".join(lines[2].split()) == "nan-loss skip refused 1: loss is nan 1 2.000 +0.0 % yes met"
    assert "back to step 60: weight" in lines[3] and " 8 " in lines[3]
    assert "same bits" in lines[4]
    assert lines[-1] == "3 of 3 faults handled as expected"
    assert main(command) == 1
    assert capsys.readouterr().out.endswith("23 of 24 faults handled as expected; not as expected: full-disk\n")
    content = json.loads((tmp_path / "drill.json").read_text())["faults"]
    assert (content["full-disk"]["verdict"], content["nan-loss"]["verdict"]) == ("not met", "met")
    assert set(content) == set(load("every-fault", "faults").faults)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["drill", "cortexgpt-stable", "--only", "nan-los"], "every-fault has no such fault"),
        (["drill", "cortexgpt-stable", "--faults", "none-such"], "no faults called 'none-such' is shipped"),
        (["drill", "cortexgpt-stable", "--guards", "maybe"], "--guards"),
        (["drill", "cortexgpt-stable", "--set", "recipe.steps=5"], "step must be at most recipe.steps, 5, got 67"),
        (
            ["drill", "cortexgpt-stable", "--faults", "one-rank"],
            "faults.nan-gradient.rank applies to one process of several",
        ),
        (["train", "cortexgpt-stable", "--inject", "one-rank"], "at least 2 must train (torchrun --nproc-per-node 2"),
        (["frontier", "cortexgpt-stable", "--rates", "1e-3..1e-4"], "--rates: must be LOW..HIGH:COUNT"),
        (["frontier", "cortexgpt-stable", "--recipes", ","], "--recipes: must name at least one"),
        (["frontier", "cortexgpt-stable", "phase-1"], "phase-1: is a recipe, and an experiment is needed here"),
        (["frontier", "cortexgpt-stable", "--set", "seed=3"], "--set seed=3: remove it: frontier sets it"),
        (["ablate", "cortexgpt-stable", "--set", "seed=3"], "--set seed=3: remove it: ablate sets it"),
        (["ablate", "cortexgpt-stable", "--only", "recipe.cliping"], "--only recipe.cliping: no such ingredient"),
        (["train", "cortexgpt-stable", "--inject", "none-such"], "no faults called 'none-such' is shipped"),
        (["train", "cortexgpt-stable", "--inject", "FILE"], "kind must be skip, rollback"),
        (["train", "cortexgpt-stable", "--inject", "nan-gradient", "--set", "recipe.steps=9"], "at most recipe.steps"),
        (
            ["train", "cortexgpt-stable", "--inject", "nan-gradient", "--resume", "RUNS"],
            "cannot be combined with --resume",
        ),
    ],
)
def test_mistakes_are_told_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("kind: faults\nname: mine\nfaults: {a: {kind: bad_luck, step: 3, expect: skip, harms: true}}\n")
    places = {"FILE": str(file), "RUNS": str(tmp_path)}
    message = "faults.a.kind must be non_finite, scaled" if "FILE" in arguments else message
    arguments = [places.get(argument, argument) for argument in arguments]
    assert main([*arguments, "--runs", str(tmp_path / "runs")]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "━" not in line]
    assert message in lines[0]
    assert not list((tmp_path / "runs").rglob("*.json*"))


def test_frontier_prints_points_frontiers_and_shares(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def curve(variant: str, recipe: str, loss: float) -> Curve:
        good = Point(rate=1e-3, runs=(Trained(0, loss, 6.0, 1.02, 0, "finished"),))
        lost = Point(rate=1e-1, runs=(Trained(0, float("inf"), 6.0, float("inf"), 3, "gave up at step 9"),))
        return Curve(variant, recipe, (good, lost))

    curves = [
        curve(variant, recipe, loss)
        for variant, recipe, loss in (("n", "new", 2.0), ("n", "old", 2.5), ("o", "new", 2.9), ("o", "old", 3.0))
    ]
    monkeypatch.setattr(frontier, "sweep", lambda *_: curves)
    report = tmp_path / "frontier.json"
    assert main(["frontier", "transformer", "--runs", str(tmp_path), "--seeds", "1", "--json", str(report)]) == 0
    output = capsys.readouterr().out
    assert "not finite" in output and "gave up at step 9" in output
    row = ["n", "new", "2.000", "0.001", "0.001", "0.001", "2.000"]
    assert row in [line.split() for line in output.splitlines()]
    assert "from o with old (3.000) to n with new (2.000), each at its best rate: 0.700 nats from the model, " in output
    assert (tmp_path / "frontier.png").is_file()
    assert json.loads(report.read_text())["curves"][0]["points"][1]["final_loss"] == "Infinity"


def test_ablate_prints_what_each_ingredient_is_worth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    worths = [
        Worth((Trained(0, loss, 6.0, 1.1, 0, "finished"),), label, shares)
        for label, loss, shares in (("nothing", 2.0, (0.07,)), ("a: 1 → 0", 1.9, ()), ("b: x → none", 2.5, (0.0,)))
    ]
    monkeypatch.setattr(ablation, "ablate", lambda *_: worths)
    assert main(["ablate", "transformer", "--json", str(tmp_path / "a.json")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == ["nothing", "2.000", "1.10", "0.070"]
    assert lines[2] == ["b:", "x", "→", "none", "2.500", "+0.500", "1.10", "0.000"]
    assert lines[3] == ["a:", "1", "→", "0", "1.900", "-0.100", "1.10", "–"]
    assert json.loads((tmp_path / "a.json").read_text())["rows"][2]["without"] == "b: x → none"


def test_rates_are_a_grid_or_a_list() -> None:
    assert parse_rates("1e-4..1e-1:4") == (1e-4, 1e-3, 1e-2, 1e-1)
    assert len(parse_rates("1e-4..1e-1")) == 7
    assert parse_rates("3e-2, 1e-3") == (1e-3, 3e-2)
    for wrong in ("", "a", "1e-4..", "0..1:3", "1..2:1", "-1e-3", "inf", "nan"):
        with pytest.raises(BadInput, match=r"LOW\.\.HIGH:COUNT"):
            parse_rates(wrong)


def test_injected_faults_are_told_recorded_and_keep_the_run_from_standing_for_its_experiment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "kind: faults\nname: mine\nextends: nan-gradient\n"
        "faults:\n  nan-gradient: {step: 5}\n  spike: {kind: scaled, place: loss, factor: 50, step: 9, expect: skip,\n"
        "    harms: false}\n"
    )
    command = [
        "train",
        "cortexgpt-stable",
        *CHANGES,
        "--runs",
        str(tmp_path / "runs"),
        "--trackers=jsonl",
        "--no-check",
    ]
    assert main([*command, "--inject", str(file)]) == 0
    assert "2 faults injected: nan-gradient, spike; consequences: " in capsys.readouterr().out
    (folder,) = (tmp_path / "runs" / "cortexgpt-stable").iterdir()
    run = Run.open(folder)
    told = [(event["step"], event["detail"]["fault"]) for event in run.events() if event["kind"] == "fault_injected"]
    assert told == [(5, "nan-gradient"), (9, "spike")]
    refused = [event["step"] for event in run.events() if event["kind"] == "step_refused"]
    assert refused[0] == 5
    assert load(str(folder / FAULTS), "faults").faults["spike"].step == 9
    assert run.finished and list(finished_runs(tmp_path / "runs", small())) == []
