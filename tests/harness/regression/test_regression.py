"""Committed verdicts stand for the suites as they are, and whatever is another one now is told."""

import json
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from cortexzoo.harness.checking.judge import judge_all
from cortexzoo.harness.checking.verdict import Certificate, Judgement
from cortexzoo.harness.cli import main, regression_commands
from cortexzoo.harness.regression import regression
from cortexzoo.harness.regression.regression import (
    COMMITTED,
    Band,
    Checked,
    Committed,
    CommittedError,
    Word,
    changes,
    drifts,
)
from cortexzoo.harness.runs.cache import cache, find_trained, training_of
from cortexzoo.harness.runs.train import subject_of
from cortexzoo.specs import SuiteSpec, load, load_experiment, shipped_names
from cortexzoo.specs.properties import PROPERTIES
from cortexzoo.specs.suite import Check
from tests.harness.trained import small

SHIPPED = shipped_names("experiment")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_experiment_has_a_certificate_in_step_with_it(name: str) -> None:
    """After a change to an experiment, a suite or a property: `cortexzoo regression NAME --write`."""
    committed, experiment = Committed.read(name, COMMITTED), load_experiment(name)
    properties = experiment.suite.properties
    expected = {key: Word(check.expect, PROPERTIES[key].version) for key, check in properties.items()}
    skipped = {key for key, word in committed.words.items() if word.verdict == "skipped" and properties[key].may_skip}
    assert dict(committed.words) == expected | {key: replace(expected[key], verdict="skipped") for key in skipped}
    assert committed.spec_hash == experiment.hash(), f"of another spec: cortexzoo regression {name} --write"
    assert committed.training_hash == training_of(experiment).hash()


def test_a_variant_of_ones_own_may_lack_what_a_shipped_one_lacks() -> None:
    suite = load("own-variant", "suite")
    assert isinstance(suite, SuiteSpec)
    words = [item for name in SHIPPED for item in Committed.read(name, COMMITTED).words.items()]
    skipped = {key for key, word in words if word.verdict == "skipped"}
    assert "state_is_detached" in skipped
    assert {key for key in skipped if not suite.properties[key].may_skip} == set()


def test_no_certificate_is_left_of_an_experiment_that_is_gone() -> None:
    assert sorted(path.stem for path in COMMITTED.iterdir()) == SHIPPED


def judgement(name: str, verdict: str, version: int = 1, observed: float = 0.0) -> Judgement:
    return Judgement(
        name, "", verdict, "pass", 0.0, "at_most", "", f"why {name}", observed, version=version  # type: ignore[arg-type]
    )  # fmt: skip


THEN = Committed("abc", {"causality": Word("pass", 1), "determinism": Word("fail", 1)})


def test_numbers_and_times_change_no_verdict() -> None:
    now = [judgement("causality", "pass", observed=0.5), replace(judgement("determinism", "fail"), seconds=9.0)]
    assert changes(THEN, Certificate(tuple(now), {})) == []


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ([judgement("causality", "fail"), judgement("determinism", "fail")], [("causality", "pass", "fail")]),
        ([judgement("causality", "pass", 2), judgement("determinism", "fail")], [("causality", "pass", "pass")]),
        ([judgement("causality", "pass")], [("determinism", "fail", None)]),
        (
            [judgement("causality", "pass"), judgement("determinism", "fail"), judgement("gate_balance", "skipped")],
            [("gate_balance", None, "skipped")],
        ),
    ],
)
def test_a_change_names_the_property_with_then_and_now(
    now: list[Judgement], told: list[tuple[str, str | None, str | None]]
) -> None:
    found = changes(THEN, Certificate(tuple(now), {}))
    assert [(c.name, c.then and c.then.verdict, c.now and c.now.verdict) for c in found] == told
    assert all(change.reason for change in found)


def test_a_certificate_is_written_as_it_is_read(tmp_path: Path) -> None:
    path = THEN.write("some", tmp_path)
    assert Committed.read("some", tmp_path) == THEN
    assert json.loads(path.read_text())["experiment"] == "some"


def of_seeds(*values: float | None) -> Committed:
    """Bands of `gate_balance` over seeds, and of a property that one of them skips."""
    judgements = [
        [judgement(name, "pass", observed=0.2 if value is None else value) for name in ("gate_balance", "causality")]
        for value in values
    ]
    certificates = [
        Certificate(tuple(both if value is not None else both[:1]), {})
        for both, value in zip(judgements, values, strict=True)
    ]
    return Committed.of("abc", certificates[0], certificates[1:], "def")


def test_a_band_is_that_of_the_seeds_and_a_standard_deviation_more(tmp_path: Path) -> None:
    then = of_seeds(0.1, 0.2, None, 0.3)
    assert then.bands == {"gate_balance": Band(pytest.approx(0.1 - 0.0816, abs=1e-3), pytest.approx(0.3816, abs=1e-3))}
    then.write("some", tmp_path)
    assert Committed.read("some", tmp_path) == then


def test_a_value_that_is_the_same_with_every_seed_counts_as_it_is_printed() -> None:
    band, none = Band.of([0.89824231, 0.89824231]), Band.of([0.0, 0.0])
    assert 0.89824325 in band and 0.8985 not in band and 0.898 not in band
    assert 0.0 in none and 1e-12 not in none


def test_what_a_clock_gives_has_no_band() -> None:
    certificates = [Certificate((judgement("linear_time", "pass", observed=1 + seed / 10),), {}) for seed in range(3)]
    assert Committed.of("abc", certificates[0], certificates[1:]).bands == {}


@pytest.mark.parametrize(("observed", "verdict", "found"), [(0.2, "pass", 0), (0.5, "pass", 1), (0.5, "fail", 0)])
def test_a_number_outside_its_band_drifts_while_the_verdict_stays(observed: float, verdict: str, found: int) -> None:
    now = Certificate((judgement("gate_balance", verdict, observed=observed),), {})
    assert [drift.observed for drift in drifts(of_seeds(0.1, 0.2, 0.3), now)] == [observed] * found


def test_bands_are_kept_while_training_and_property_are_the_same_with_whatever_suite() -> None:
    earlier = of_seeds(0.1, 0.2, 0.3)
    one = Certificate((judgement("gate_balance", "pass"), judgement("causality", "pass", 2)), {})
    assert set(Committed.of("abd", one, (), "def").with_bands_of(earlier).bands) == {"gate_balance"}
    assert not Committed.of("abc", one, (), "deg").with_bands_of(earlier).bands


def test_the_command_measures_bands_and_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def checked(seed: int, observed: float) -> Checked:
        return Checked(
            small().model_copy(update={"seed": seed}),
            Certificate((judgement("gate_balance", "pass", observed=observed),), {}),
        )

    found = [checked(2, 0.3), checked(0, 0.1), checked(1, 0.2)]
    monkeypatch.setattr(regression_commands, "_announced", lambda *_: nullcontext())
    monkeypatch.setattr(regression_commands, "load_experiment", lambda *_: small())
    monkeypatch.setattr(regression, "COMMITTED", tmp_path)
    monkeypatch.setattr(regression, "check_all", lambda *_: iter(found))
    name = small().name
    monkeypatch.setattr(regression_commands, "shipped_names", lambda _: [name])
    assert main(["regression", name, "--seeds", "3"]) == 2
    assert "--seeds: is for --write" in capsys.readouterr().err
    assert main(["regression", name, "--write", "--seeds", "3"]) == 0
    assert "1 numbers with a band" in capsys.readouterr().out
    found[:] = [checked(0, 0.9)]
    assert main(["regression", name]) == 0
    said = capsys.readouterr().out
    assert "warning: 1 numbers left their bands" in said and "gate_balance" in said and "nothing changed" in said
    assert main(["regression", name, "--write"]) == 0
    assert "1 numbers with a band" in capsys.readouterr().out, "of the same spec and property: kept"


@pytest.mark.parametrize("content", ["", "[]", '{"properties": {"causality": "pass"}, "spec_hash": "a"}'])
def test_what_is_no_committed_certificate_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "some.json").write_text(content)
    with pytest.raises(CommittedError, match="is no committed certificate: `cortexzoo regression some --write`"):
        Committed.read("some", tmp_path)


def test_a_missing_certificate_is_told_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(regression, "COMMITTED", tmp_path)
    monkeypatch.setenv("CORTEXZOO_CACHE", str(tmp_path / "cache"))
    assert main(["regression", "transformer"]) == 2
    assert "transformer: has no committed certificate" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


def test_an_unknown_experiment_is_told_with_the_nearest_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["regression", "cortexgpt-stabel"]) == 2
    said = capsys.readouterr().err.strip()
    assert said == "regression cortexgpt-stabel: no such shipped experiment: did you mean cortexgpt-stable?"


def test_another_spec_is_a_change_also_with_the_same_verdicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = small()
    now = Certificate((judgement("causality", "pass"),), {})
    monkeypatch.setattr(regression_commands, "load_experiment", lambda *_: experiment)
    monkeypatch.setattr(regression_commands, "_announced", lambda *_: nullcontext())
    monkeypatch.setattr(regression, "COMMITTED", tmp_path)
    monkeypatch.setattr(regression, "check_all", lambda *_: iter([Checked(experiment, now)]))

    Committed.of(experiment.hash(), now).write("cortexgpt-stable", tmp_path)
    assert main(["regression", "cortexgpt-stable"]) == 0
    said = capsys.readouterr().out
    assert "1 verdicts as committed" in said and "--write" not in said and said.endswith("nothing changed\n")

    Committed.of("0123456789abcdef", now).write("cortexgpt-stable", tmp_path)
    assert main(["regression", "cortexgpt-stable"]) == 1
    said = capsys.readouterr().out
    assert f"has spec hash 0123456789abcdef, the spec now {experiment.hash()}" in said
    assert "1 verdicts as committed" in said and "cortexzoo regression cortexgpt-stable --write" in said
    assert said.endswith("1 of 1 experiments changed\n")


def test_seeds_of_one_experiment_are_timed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    timed: list[int] = []
    monkeypatch.setattr("cortexzoo.harness.runs.cache.work_ahead", lambda experiment: timed.append(1) or "12 steps")
    experiments = [small(f"seed={seed}") for seed in range(3)]
    with regression_commands._announced(experiments, tmp_path, 2):
        pass
    assert "12 steps, with each of 3 seeds\n" in capsys.readouterr().out and len(timed) == 1


@pytest.mark.slow
def test_the_command_commits_and_compares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = SuiteSpec(name="few", properties={"causality": Check(), "better_than_counting": Check(expect="fail")})
    experiment = small().model_copy(update={"suite": suite})
    monkeypatch.setattr(regression_commands, "load_experiment", lambda *_: experiment)
    monkeypatch.setattr(regression, "COMMITTED", tmp_path)
    monkeypatch.setenv("CORTEXZOO_CACHE", str(tmp_path / "cache"))

    assert main(["regression", "cortexgpt-stable", "--write", "--jobs", "1"]) == 0
    assert re.search(r"12 steps to train, about \d+\.\d minutes on one core", capsys.readouterr().out)
    assert Committed.read("cortexgpt-stable", tmp_path).words["better_than_counting"] == Word("fail", 2)

    run = find_trained(experiment, cache())
    assert run is not None
    again = [Checked(experiment, judge_all(subject_of(run), suite, {}))]
    monkeypatch.setattr(regression, "check_all", lambda *_: iter(again))
    assert main(["regression", "cortexgpt-stable"]) == 0
    said = capsys.readouterr().out
    assert "cortexgpt-stable: trained already" in said and "2 verdicts as committed" in said

    words = {"causality": Word("fail", 1), "better_than_counting": Word("fail", 2)}
    Committed("0123456789abcdef", words).write("cortexgpt-stable", tmp_path)
    assert main(["regression", "cortexgpt-stable"]) == 1
    said = capsys.readouterr().out
    assert f"has spec hash 0123456789abcdef, the spec now {experiment.hash()}" in said
    (row,) = [line for line in said.splitlines() if line.startswith("causality")]
    assert row.split()[1:7] == ["fail", "(version", "1)", "pass", "(version", "2)"]
    assert "editing" in row
