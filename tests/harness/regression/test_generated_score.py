"""A campaign of changes made by machine: each is judged once, by what reaches it, within its time."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.mutants.base import Host
from cortexzoo.harness.checking.mutants.generated import Site, sample, sites_of
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.harness.cli import main
from cortexzoo.harness.regression import generated_score, generated_tests
from cortexzoo.harness.regression.equivalent import EQUIVALENT
from cortexzoo.harness.regression.generated_score import GeneratedResult, campaign, judge_site, place_of
from cortexzoo.harness.regression.generated_tests import TestedResult
from cortexzoo.harness.regression.mutation_score import EXPERIMENTS, HOSTS
from cortexzoo.harness.regression.reach import Hosts, Reach, in_turn
from cortexzoo.specs.allowed_code import VARIABLE
from cortexzoo.specs.properties import PropertyName
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.training import schedule
from tests.harness import tiny


class Tiny(Hosts):
    """A tiny transformer instead of the trained hosts."""

    def judge(self, host: Host, name: PropertyName) -> Judgement:
        return judge(REGISTRY[name], Check(), tiny.subject())


class Asleep(Hosts):
    """A host that nothing can be asked of."""

    def judge(self, host: Host, name: PropertyName) -> Judgement:
        time.sleep(60)
        raise AssertionError("it was not ended")


TINY = Tiny({})


def site(change: str) -> Site:
    return next(s for s in sites_of(schedule) if s.change == change)


WARMUP = site("taken < warmup → taken <= warmup")
PERIODS = site("period *= multiplier → pass")


def reaching(
    *lines: int, name: Any = "steps_match_a_reference", host: Any = "transformer", seconds: float = 1
) -> Reach:
    return Reach(host, name, "pass", seconds, {"training/schedule.py": lines})


def test_a_property_that_reaches_a_change_catches_it() -> None:
    result = judge_site(WARMUP, TINY, [reaching(WARMUP.line)])
    assert (result.fate, result.by, result.asked, result.reached) == ("caught", "steps_match_a_reference", 1, 1)
    assert "train/learning_rate" in result.reason


def test_what_no_property_reaches_is_named() -> None:
    assert judge_site(WARMUP, TINY, [reaching(WARMUP.line + 1)]).fate == "not reached"


def test_a_property_that_passes_lets_a_change_survive() -> None:
    result = judge_site(WARMUP, TINY, [reaching(WARMUP.line, name="best_is_the_best")])
    assert (result.fate, result.by, result.is_caught) == ("survives", "", False)


class AsleepLater(Tiny):
    """A host that one property makes endless."""

    def judge(self, host: Host, name: PropertyName) -> Judgement:
        if name == "causality":
            time.sleep(60)
        return super().judge(host, name)


class Dying(Hosts):
    """A host that ends the process."""

    def judge(self, host: Host, name: PropertyName) -> Judgement:
        os._exit(9)


@pytest.mark.parametrize("hosts", [Asleep({}), AsleepLater({})])
def test_a_change_that_makes_a_property_endless_hangs(hosts: Hosts) -> None:
    reaches = [reaching(WARMUP.line, name=name, seconds=0) for name in ("best_is_the_best", "causality")]
    result = judge_site(WARMUP, hosts, reaches, limit=9)
    assert result.fate == "hangs" and result.is_caught


def test_a_change_whose_time_is_over_survives() -> None:
    assert judge_site(WARMUP, Asleep({}), [reaching(WARMUP.line)], limit=0.5).fate == "survives"


def test_a_change_that_ends_the_process_is_caught() -> None:
    result = judge_site(WARMUP, Dying({}), [reaching(WARMUP.line)])
    assert (result.fate, result.reason) == ("caught", "the process died")


def test_results_belong_to_the_code_and_to_what_judges_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = place_of(tmp_path)
    assert before == place_of(tmp_path)
    copied = tmp_path / "checking"
    (copied / "properties").mkdir(parents=True)
    (copied / "properties" / "new.py").write_text("")
    monkeypatch.setattr(generated_score.checking, "__file__", str(copied / "__init__.py"))
    assert place_of(tmp_path) != before


def test_each_property_is_asked_of_its_quickest_host_before_any_is_asked_again() -> None:
    line = WARMUP.line
    reaches = [
        reaching(line, name="causality", host="hybrid", seconds=2),
        reaching(line, name="causality", host="transformer", seconds=1),
        reaching(line, name="determinism", host="hybrid", seconds=9),
        reaching(line + 1, name="repeatability"),
    ]
    asked = [(each.property, each.host) for each in in_turn(reaches, WARMUP)]
    assert asked == [("causality", "transformer"), ("determinism", "hybrid"), ("causality", "hybrid")]


def test_the_layer_that_needs_no_training_is_a_host() -> None:
    hosts = Hosts({})
    assert ("gated-delta", "causality") in hosts.pairs()
    judged = hosts.judge("gated-delta", "finite_gradients")
    assert (judged.name, judged.verdict) == ("finite_gradients", "pass")


def test_every_host_is_an_experiment_but_the_layer() -> None:
    assert {*HOSTS} - {*EXPERIMENTS} == {"gated-delta"}


def test_a_campaign_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def judged(site: Site, *_: object) -> GeneratedResult:
        asked.append(site.name)
        return GeneratedResult(site.name, site.operator, "caught", by="causality")

    monkeypatch.setattr(generated_score, "judge_site", judged)
    monkeypatch.setattr(generated_score, "in_processes", lambda tasks, _: ((key, task()) for key, task in tasks))
    monkeypatch.setattr(Hosts, "trained", lambda *_: TINY)
    monkeypatch.setattr(generated_score, "measured_reaches", lambda *_: [])
    first = campaign([WARMUP], tmp_path, tmp_path, 1)
    assert VARIABLE not in os.environ, "the module of a host may run, and none after the campaign"
    (results,) = tmp_path.rglob("results-60-s.jsonl")
    assert results.parent == place_of(tmp_path)
    results.write_text(results.read_text() + '{"site": "broken\n')
    both = campaign([WARMUP, PERIODS], tmp_path, tmp_path, 1)
    assert asked == [WARMUP.name, PERIODS.name]
    assert both[0] == first[0]
    told: list[tuple[str, int, int]] = []
    assert campaign([WARMUP, PERIODS], tmp_path, tmp_path, 1, done=lambda *step: told.append(step)) == both
    assert len(asked) == 2 and told == [("properties", 2, 2)]
    campaign([WARMUP, PERIODS], tmp_path, tmp_path, 1, limit=90)
    assert asked[2:] == asked[:2], "what survives in one time may be caught in another"


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
    assert "by properties alone: 2 of 4 caught (50.0%)" in told and "of the 3 that a property reaches: 66.7%" in told
    assert len(json.loads(report.read_text())["results"]) == 4


def test_with_tests_the_command_prints_both_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def results(sites: list[Site], *_: object) -> list[GeneratedResult]:
        fates: list[Any] = ["caught", "survives", "not reached"]
        return [GeneratedResult(s.name, s.operator, fate) for s, fate in zip(sites, fates, strict=True)]

    def by_tests(sites: list[Site], *_: object) -> list[TestedResult]:
        return [TestedResult(s.name, "caught", f"test_of {s.number}") for s in sites]

    equivalent = sample(4, 7)[3]
    monkeypatch.setattr(generated_score, "campaign", results)
    monkeypatch.setattr(generated_tests, "campaign_of_tests", by_tests)
    monkeypatch.setitem(EQUIVALENT, equivalent.lasting_name, "it is clamped again below")
    report = tmp_path / "report.json"
    command = ["mutants", "--generated", "--sample", "4", "--seed", "7", "--tests", str(tmp_path), "--wide"]
    assert main([*command, "--runs", str(tmp_path), "--json", str(report)]) == 0
    told = capsys.readouterr().out
    assert "1 of 4 changes are equivalent and not counted" in told and "it is clamped again below" in told
    assert "by properties alone: 1 of 3 caught (33.3%)" in told
    assert f"with the tests in {tmp_path}: 3 of 3 caught (100.0%)" in told
    found = json.loads(report.read_text())
    assert found["equivalent"] == {equivalent.name: "it is clamped again below"}
    assert [row["tests"] and row["tests"]["fate"] for row in found["results"]] == [None, "caught", "caught"]


def test_every_change_that_is_listed_as_equivalent_is_there() -> None:
    assert {*EQUIVALENT} <= {site.lasting_name for site in sample(10**6, 0)}


def test_options_that_do_not_go_together_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mutants", "--generated", "--only", "hybrid"]) == 2
    assert "--generated takes its own changes: leave out --only and --list" in capsys.readouterr().err
    assert main(["mutants", "--tests", "."]) == 2
    assert "--tests goes with --generated" in capsys.readouterr().err
    assert main(["mutants", "--generated", "--tests", "nowhere"]) == 2
    assert "--tests nowhere: no such folder" in capsys.readouterr().err
    assert main(["mutants", "--only", "follower"]) == 2
    assert "--only follower: no such mutant or host" in capsys.readouterr().err


def test_tests_need_the_packages_that_run_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(generated_tests.NEEDED, "no_such_module", "no-such-package")
    assert main(["mutants", "--generated", "--tests", "."]) == 2
    assert "--tests needs no-such-package: install cortexzoo[dev]" in capsys.readouterr().err


def test_the_campaign_by_properties_needs_no_pytest() -> None:
    code = "import sys; sys.modules['pytest'] = None; import cortexzoo.harness.regression.generated_score"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
