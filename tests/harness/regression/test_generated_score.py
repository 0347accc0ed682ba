"""A campaign of changes made by machine: each is judged once, by what reaches it, within its time."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from cortexzoo.harness.checking.mutants.generated import Site, sites_of
from cortexzoo.harness.cli import main
from cortexzoo.harness.regression import generated_score
from cortexzoo.harness.regression.generated_score import GeneratedResult, Reach, campaign, judge_site
from cortexzoo.zoo.training import schedule
from tests.harness import tiny


def site(change: str) -> Site:
    return next(s for s in sites_of(schedule) if s.change == change)


WARMUP = site("taken < warmup → taken <= warmup")
PERIODS = site("period *= multiplier → pass")


def reach(*lines: int, name: Any = "steps_match_a_reference") -> Reach:
    return Reach("transformer", name, 1.0, {"training/schedule.py": lines})


def test_a_property_that_reaches_a_change_catches_it() -> None:
    result = judge_site(WARMUP, {"transformer": tiny.subject()}, [reach(WARMUP.line)])
    assert (result.fate, result.by, result.asked) == ("caught", "steps_match_a_reference", 1)
    assert "train/learning_rate" in result.reason


def test_what_no_property_reaches_is_named() -> None:
    assert judge_site(WARMUP, {"transformer": tiny.subject()}, [reach(WARMUP.line + 1)]).fate == "not reached"


def test_a_property_that_passes_lets_a_change_survive() -> None:
    result = judge_site(WARMUP, {"transformer": tiny.subject()}, [reach(WARMUP.line, name="best_is_the_best")])
    assert (result.fate, result.by) == ("survives", "")


def test_a_change_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generated_score, "LIMIT", 0.5)
    monkeypatch.setattr(generated_score, "judge", lambda *_: time.sleep(60))
    assert judge_site(WARMUP, {"transformer": tiny.subject()}, [reach(WARMUP.line)]).fate == "hangs"


def test_the_lines_of_zoo_that_run_are_traced() -> None:
    with generated_score._traced() as lines:
        schedule.rate_factor(tiny.experiment().recipe.schedule, 0, 20)
    assert WARMUP.line in lines["training/schedule.py"] and PERIODS.line not in lines["training/schedule.py"]


def test_a_campaign_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def judged(site: Site, *_: object) -> GeneratedResult:
        asked.append(site.name)
        return GeneratedResult(site.name, site.operator, "caught", by="causality")

    monkeypatch.setattr(generated_score, "judge_site", judged)
    monkeypatch.setattr(generated_score, "_hosts", lambda *_: {})
    monkeypatch.setattr(generated_score, "_reaches", lambda *_: [])
    first = campaign([WARMUP], tmp_path, tmp_path, 1)
    (results,) = tmp_path.rglob("results.jsonl")
    results.write_text(results.read_text() + '{"site": "broken')
    both = campaign([WARMUP, PERIODS], tmp_path, tmp_path, 1)
    assert asked == [WARMUP.name, PERIODS.name]
    assert both[0] == first[0]


def test_the_command_prints_the_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def results(sites: list[Site], *_: object) -> list[GeneratedResult]:
        fates: list[Any] = ["caught", "survives", "not reached", "hangs"]
        return [GeneratedResult(s.name, s.operator, fate) for s, fate in zip(sites, fates, strict=True)]

    monkeypatch.setattr(generated_score, "campaign", results)
    report = tmp_path / "report.json"
    command = ["mutants", "--generated", "--sample", "4", "--seed", "7", "--runs", str(tmp_path), "--json", str(report)]
    assert main(command) == 1
    told = capsys.readouterr().out
    assert "mutation score: 2 of 4 caught (50%)" in told and "of the 3 that a property reaches: 67%" in told
    assert len(json.loads(report.read_text())["results"]) == 4


def test_options_that_do_not_go_together_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mutants", "--generated", "--only", "hybrid"]) == 2
    assert "--generated takes its own changes: leave out --only and --list" in capsys.readouterr().err
