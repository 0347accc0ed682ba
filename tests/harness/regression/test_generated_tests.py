"""Unit tests as judges of changes made by machine: those that reach a change are run with it in place."""

from pathlib import Path

import pytest

from cortexzoo.harness.checking.mutants.generated import Site, sites_of
from cortexzoo.harness.regression import generated_tests
from cortexzoo.harness.regression.generated_tests import (
    Reached,
    TestedResult,
    TestsFailed,
    campaign_of_tests,
    measured_reach,
)
from cortexzoo.harness.regression.kept_results import append_result, read_results
from cortexzoo.zoo.training import schedule

SOURCES = Path(__file__).parents[3] / "src"
PROJECT = f'[tool.pytest.ini_options]\npythonpath = ["{SOURCES}"]\nmarkers = ["slow: it is left out"]\n'
TESTS = """
import pytest
from cortexzoo.specs.recipe import Constant, CosineRestarts
from cortexzoo.zoo.training.schedule import rate_factor

def test_warmup():
    assert rate_factor(Constant(warmup_ratio=0.5), 4, 10) == 1

def test_restarts():
    assert rate_factor(CosineRestarts(period=2, multiplier=2), 0, 10) == 1

@pytest.mark.skip("a skipped test says nothing")
def test_skipped():
    raise AssertionError

@pytest.mark.slow
def test_slow():
    raise AssertionError
"""


def site(operator: str, change: str) -> Site:
    return next(s for s in sites_of(schedule) if s.operator == operator and s.change == change)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "tests").mkdir()
    (folder / "tests" / "test_schedule.py").write_text(TESTS)
    return folder


@pytest.mark.slow
def test_a_change_is_caught_by_the_test_that_reaches_it(project: Path) -> None:
    warmup = site("drop a term", "taken + 1 → taken")
    restarts = site("flip comparison", "taken >= period → taken > period")
    kept = project / "kept"
    results = campaign_of_tests([warmup, restarts], kept, project / "tests", 1)
    caught, survives = results
    assert (caught.fate, caught.by.partition("::")[2], caught.is_caught) == ("caught", "test_warmup", True)
    assert (survives.fate, survives.by, survives.asked, survives.reached) == ("survives", "", 1, 1)
    (own,) = kept.iterdir()
    reached = measured_reach(own, project / "tests", 1)
    assert [test.partition("::")[2] for test in reached.of(restarts)] == ["test_restarts"]
    assert {test.partition("::")[2] for test in reached.seconds} == {"test_warmup", "test_restarts"}
    assert campaign_of_tests([warmup, restarts], kept, project / "tests", 1) == results


@pytest.mark.parametrize(
    ("content", "by"),
    [
        ("raise ValueError('a module that cannot be imported')", "exit code"),
        ("import os\nos._exit(7)", "exit code 7"),
        ("def test_other(): pass", "exit code 4"),
    ],
)
def test_whatever_ends_tests_that_passed_before_is_the_change(tmp_path: Path, content: str, by: str) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "test_changed.py").write_text(content)
    warmup = site("drop a term", "taken + 1 → taken")
    names = ["test_changed.py::test_gone"]
    result = generated_tests.judge_by_tests(warmup, names, names, tmp_path)
    assert result.is_caught and result.by.startswith(by)


@pytest.mark.slow
def test_tests_that_do_not_end_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generated_tests, "HANGS_AFTER", 6.0)
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "test_endless.py").write_text("import time\ndef test_endless(): time.sleep(60)\n")
    warmup = site("drop a term", "taken + 1 → taken")
    names = ["test_endless.py::test_endless"]
    assert generated_tests.judge_by_tests(warmup, names, names, tmp_path).fate == "hangs"


def test_a_line_that_was_cut_short_is_left_out_and_the_next_is_whole(tmp_path: Path) -> None:
    kept = tmp_path / "results.jsonl"
    for name in ("first", "second"):
        append_result(kept, TestedResult(name, "survives"))
    kept.write_text(kept.read_text()[:-9])
    append_result(kept, TestedResult("third", "caught", by="a test"))
    assert [*read_results(kept, TestedResult)] == ["first", "third"]


def test_tests_that_cannot_be_run_are_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT + "addopts = ['--no-such-option']\n")
    with pytest.raises(TestsFailed, match=r"cannot be run: .*no-such-option"):
        measured_reach(tmp_path, tmp_path, 1)


def test_tests_that_fail_with_nothing_changed_are_no_judges(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "test_wrong.py").write_text("def test_wrong():\n    assert 1 == 2\n")
    with pytest.raises(TestsFailed, match=r"fail with nothing changed: .*1 failed"):
        measured_reach(tmp_path, tmp_path, 1)


def test_the_quickest_tests_come_first_and_no_more_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    warmup = site("flip comparison", "taken < warmup → taken <= warmup")
    tests = {"training/schedule.py": {str(warmup.line): ["slow", "quick", "middling"], "1": ["other"]}}
    reached = Reached(tests, {"slow": 50.0, "quick": 1.0, "middling": 20.0, "other": 0.1})
    assert reached.of(warmup) == ["quick", "middling", "slow"]
    assert generated_tests._chosen(reached, warmup) == ["quick", "middling"]
    monkeypatch.setattr(generated_tests, "LIMIT", 0.5)
    assert generated_tests._chosen(reached, warmup) == ["quick"]


def test_what_no_test_reaches_is_named(tmp_path: Path) -> None:
    warmup = site("flip comparison", "taken < warmup → taken <= warmup")
    result = generated_tests.judge_by_tests(warmup, [], [], tmp_path)
    assert (result.fate, result.is_caught) == ("not reached", False)


def test_results_are_of_one_state_of_the_tests_and_of_the_harness(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, harness = tmp_path / "tests", tmp_path / "harness"
    for folder in (own, harness):
        folder.mkdir()
        (folder / "__init__.py").write_text("")
    monkeypatch.setattr(generated_tests.harness, "__file__", str(harness / "__init__.py"))
    sums = [generated_tests._sum_of(own)]
    for folder in (own, harness):
        (folder / "more.py").write_text("1")
        sums.append(generated_tests._sum_of(own))
    assert len(set(sums)) == 3
