"""One training for each spec, whatever its suite; what was cut off is gone on with; other code trains anew."""

import shutil
from pathlib import Path

import pytest
import torch

from cortexzoo import zoo
from cortexzoo.harness.runs import cache as cached
from cortexzoo.harness.runs.cache import cache, cached_training, code_sum, find_trained, training_of, work_ahead
from cortexzoo.harness.runs.calibration import Calibration
from cortexzoo.harness.runs.run_folder import METRICS, SUMMARY, Run
from cortexzoo.specs import ExperimentSpec, load_experiment
from cortexzoo.specs.objective import Recall
from tests.harness.trained import QUIET, SMALL, small


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return cached_training(small(), tmp_path_factory.mktemp("cache"), QUIET)


def copied(run: Run, folder: Path) -> Run:
    """The training in another folder, where things may happen to it."""
    return Run(shutil.copytree(run.path, folder / run.path.parent.name / run.path.name))


def test_a_training_is_found_again_also_for_another_suite(whole: Run, tmp_path: Path) -> None:
    run = copied(whole, tmp_path)
    other = load_experiment("cortexgpt-stable", [*SMALL, "suite=transformer"])
    assert other.hash() != small().hash()
    found = find_trained(other, tmp_path)
    assert found is not None and found.path == run.path
    assert cached_training(other, tmp_path, QUIET).path == run.path
    assert find_trained(small("seed=1"), tmp_path) is None


@pytest.mark.parametrize("summary", [None, {"status": "failed", "cause": "disk full"}])
def test_a_training_that_was_cut_off_is_gone_on_with(
    whole: Run, tmp_path: Path, summary: dict[str, object] | None
) -> None:
    killed = copied(whole, tmp_path)
    (killed.path / SUMMARY).unlink()
    if summary is not None:
        killed.write_json(SUMMARY, summary)
    run = cached_training(small(), tmp_path, QUIET)
    assert run.path == killed.path and run.finished
    assert run.summary["validation_loss"] == whole.summary["validation_loss"]


def test_one_that_cannot_be_gone_on_with_is_made_anew(whole: Run, tmp_path: Path) -> None:
    killed = copied(whole, tmp_path)
    (killed.path / SUMMARY).unlink()
    (killed.path / METRICS).write_text("")
    run = cached_training(small(), tmp_path, QUIET)
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


def calibrated(step: float, experiment: ExperimentSpec) -> Calibration:
    steps, bound = experiment.recipe.steps, isinstance(experiment.recipe.objective, Recall)
    return Calibration(
        30.0, step, 6.0, steps=steps, validations=5, threads=torch.get_num_threads(), device="cpu", timed=10,
        is_bound=bound,
    )  # fmt: skip


def test_the_time_of_a_training_is_that_of_show_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[ExperimentSpec, int]] = []

    def calibrate(experiment: ExperimentSpec) -> Calibration:
        asked.append((experiment, torch.get_num_threads()))
        return calibrated(1.2, experiment)

    monkeypatch.setattr(cached, "calibrate", calibrate)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        said = work_ahead(small("recipe.steps=50"))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert said == "cortexgpt-stable: 50 steps to train, about 2.0 minutes on one core"
    assert asked == [(training_of(small("recipe.steps=50")), 1)]


@pytest.mark.parametrize(
    ("changes", "apart"),
    [([], "its sleeps and the recall at its end"), (["recipe.sleep={kind: never}"], "the recall at its end")],
)
def test_a_bound_is_called_one_and_what_it_leaves_out_is_named(
    monkeypatch: pytest.MonkeyPatch, changes: list[str], apart: str
) -> None:
    monkeypatch.setattr(cached, "calibrate", lambda experiment: calibrated(0.12, experiment))
    said = work_ahead(load_experiment("cortex-v2-hybrid", changes))
    assert said == f"cortex-v2-hybrid: 300 steps to train, at most 1.6 minutes on one core, without {apart}"
