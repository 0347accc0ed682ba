"""Many experiments: finished runs are used, unfinished ones go on, the others are trained, equal ones once."""

import shutil
from pathlib import Path

import pytest

from cortexzoo.harness.bench.generated_runs import experiment, generated_run
from cortexzoo.harness.parallel.train_missing import StoppedEarly, train_missing, train_or_go_on
from cortexzoo.harness.runs.find import unfinished_runs
from cortexzoo.harness.runs.run_folder import CHECKPOINTS, MANIFEST, SUMMARY, Run
from cortexzoo.specs.allowed_code import VARIABLE
from cortexzoo.specs.own_variant import ModuleSpec
from cortexzoo.zoo.errors import OwnModuleError
from cortexzoo.zoo.training.recorder import WALL_CLOCK_METRICS
from tests.harness.trained import killed_small, small, train_small


@pytest.mark.slow
def test_only_what_is_missing_is_trained_and_equal_experiments_once(tmp_path: Path) -> None:
    already = train_small(tmp_path, "seed=1")
    wanted = [small("seed=1"), small("seed=2"), small("seed=2"), small("seed=3")]
    found = {spec.seed: run for spec, run in train_missing(wanted, tmp_path, jobs=2)}
    assert set(found) == {1, 2, 3}
    assert found[1].path == already.path
    assert all(run.finished for run in found.values())
    assert len(list((tmp_path / "cortexgpt-stable").iterdir())) == 3
    again = {spec.seed: run.path for spec, run in train_missing(wanted, tmp_path, jobs=2)}
    assert again == {seed: run.path for seed, run in found.items()}


def test_code_that_must_not_run_is_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("CORTEXZOO_CONFIG", str(tmp_path / "config"))
    module = ModuleSpec(name="mine", source=f"{tmp_path}/mine.py:make")
    wanted = [small(), small().model_copy(update={"variant": module})]
    with pytest.raises(OwnModuleError, match="runs with --allow-code only"):
        next(train_missing(wanted, tmp_path / "runs", jobs=1))
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_process_of_the_pool_trains_what_this_process_would(tmp_path: Path) -> None:
    here = train_small(tmp_path / "here", "seed=5")
    ((_, there),) = train_missing([small("seed=5")], tmp_path / "there", jobs=1)
    assert there.summary["validation_loss"] == here.summary["validation_loss"]


@pytest.fixture(scope="module")
def cut_short(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Killed at step 10, with a checkpoint at step 8."""
    return killed_small(tmp_path_factory.mktemp("cut-short"), 10)


def copied(run: Run, runs: Path) -> Run:
    return Run.open(shutil.copytree(run.path, runs / run.path.parent.name / run.path.name))


def curves(run: Run) -> list[dict[str, float]]:
    left_out = {"time", *WALL_CLOCK_METRICS}
    return [{name: value for name, value in line.items() if name not in left_out} for line in run.metrics()]


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_from_its_checkpoint(cut_short: Run, tmp_path: Path) -> None:
    run = copied(cut_short, tmp_path)
    ((_, found),) = train_missing([small()], tmp_path, jobs=1)
    assert found.path == run.path
    assert found.finished
    assert [each["from_step"] for each in found.manifest["resumed"]] == [8]
    assert curves(found) == curves(train_small(tmp_path / "undisturbed"))


def test_one_that_cannot_go_on_stays_and_is_trained_anew(
    cut_short: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = copied(cut_short, tmp_path)
    model = run.path / CHECKPOINTS / "last" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1])
    found = train_or_go_on(small(), tmp_path)
    assert found.path != run.path and found.finished
    (line,) = caplog.messages
    assert str(run.path) in line and line.endswith("cortexgpt-stable, seed 0, is trained again")
    assert not (run.path / SUMMARY).exists()


def test_one_that_another_process_trains_is_left_to_it(
    cut_short: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = copied(cut_short, tmp_path)
    with run.held():
        found = train_or_go_on(small(), tmp_path)
    assert found.path != run.path and found.finished
    assert caplog.messages == [
        f"{run.path}: is being trained by another process: cortexgpt-stable, seed 0, is trained again"
    ]


@pytest.mark.parametrize("begun", [False, True])
def test_a_run_that_is_stopped_by_a_signal_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    def terminated(*_: object, **__: object) -> Run:
        run = generated_run(tmp_path, experiment(), steps=2, finished=False)
        run.write_json(SUMMARY, {"status": "terminated"})
        return run

    if begun:
        generated_run(tmp_path, experiment(), steps=1, finished=False)
    monkeypatch.setattr("cortexzoo.harness.runs.train.train_run", terminated if not begun else pytest.fail)
    monkeypatch.setattr("cortexzoo.harness.runs.resume.resume_run", terminated if begun else pytest.fail)
    with pytest.raises(StoppedEarly, match=r"stopped before its last step; repeat the command to continue$"):
        train_or_go_on(experiment(), tmp_path)


@pytest.mark.parametrize(
    ("summary", "goes_on"),
    [
        (None, True),
        ({"status": "interrupted"}, True),
        ({"status": "terminated"}, True),
        ({"status": "failed", "cause": "disk full"}, True),
        ({"status": "failed", "cause": "storm", "gave_up_at": 7}, False),
        ({"status": "finished"}, False),
    ],
)
def test_what_counts_as_unfinished(tmp_path: Path, summary: dict[str, object] | None, goes_on: bool) -> None:
    run = generated_run(tmp_path, experiment(), steps=2, finished=False)
    if summary is not None:
        run.write_json(SUMMARY, summary)
    assert [each.path for each in unfinished_runs(tmp_path, experiment())] == [run.path] * goes_on
    assert list(unfinished_runs(tmp_path, experiment(1))) == []


def test_a_run_that_was_tampered_with_is_never_gone_on_with(tmp_path: Path) -> None:
    run = generated_run(tmp_path, experiment(), steps=2, finished=False)
    run.write_json(MANIFEST, {**run.manifest, "tampered_with": {"faults": "x"}})
    assert list(unfinished_runs(tmp_path, experiment())) == []
