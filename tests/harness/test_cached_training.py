"""One training for each spec, whatever its suite; what was cut off is gone on with; other code trains anew."""

import shutil
from pathlib import Path

import pytest

import zoo
from harness.cached_training import cache, cached_training, code_sum, find_trained, seconds_to_train
from harness.run_folder import METRICS, SUMMARY, Run
from specs import load_experiment
from tests.harness.trained import SMALL, small


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return cached_training(small(), tmp_path_factory.mktemp("cache"), warn=pytest.fail)


def copied(run: Run, folder: Path) -> Run:
    """The training in another folder, where things may happen to it."""
    return Run(shutil.copytree(run.path, folder / run.path.parent.name / run.path.name))


def test_a_training_is_found_again_also_for_another_suite(whole: Run, tmp_path: Path) -> None:
    run = copied(whole, tmp_path)
    other = load_experiment("cortexgpt-stable", [*SMALL, "suite=transformer"])
    assert other.hash() != small().hash()
    found = find_trained(other, tmp_path)
    assert found is not None and found.path == run.path
    assert cached_training(other, tmp_path, warn=pytest.fail).path == run.path
    assert find_trained(small("seed=1"), tmp_path) is None


def test_a_training_that_was_killed_is_gone_on_with(whole: Run, tmp_path: Path) -> None:
    killed = copied(whole, tmp_path)
    (killed.path / SUMMARY).unlink()
    run = cached_training(small(), tmp_path, warn=pytest.fail)
    assert run.path == killed.path and run.finished
    assert run.summary["validation_loss"] == whole.summary["validation_loss"]


def test_one_that_cannot_be_gone_on_with_is_made_anew(whole: Run, tmp_path: Path) -> None:
    killed = copied(whole, tmp_path)
    (killed.path / SUMMARY).unlink()
    (killed.path / METRICS).write_text("")
    run = cached_training(small(), tmp_path, warn=pytest.fail)
    assert run.path != killed.path and run.finished


def test_a_training_that_is_stopped_is_no_result(whole: Run, tmp_path: Path) -> None:
    stopped = copied(whole, tmp_path)
    stopped.write_json(SUMMARY, {**stopped.summary, "status": "interrupted"})
    assert find_trained(small(), tmp_path) is None


def test_other_code_has_another_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORTEXZOO_CACHE", str(tmp_path / "cache"))
    before = cache()
    (tmp_path / "zoo").mkdir()
    file = tmp_path / "zoo" / "__init__.py"
    file.write_text("a = 1\n")
    monkeypatch.setattr(zoo, "__file__", str(file))
    one = code_sum()
    file.write_text("a = 2\n")
    assert len({one, code_sum(), before.name}) == 3
    assert before.is_relative_to(tmp_path / "cache")


def test_the_time_of_a_training_is_measured_on_a_few_steps() -> None:
    seconds, twice = seconds_to_train(small()), seconds_to_train(small("recipe.steps=1200"))
    assert 0 < seconds < 60
    assert twice > 10 * seconds
