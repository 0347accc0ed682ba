"""From an experiment to a complete run folder, and from a run folder to its certificate."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cortexzoo.harness.checking.verdict import VERDICT
from cortexzoo.harness.errors import RunStopped
from cortexzoo.harness.runs.options import RunOptions
from cortexzoo.harness.runs.run_folder import CHECKPOINTS, CURVES, MANIFEST, SPEC, SUMMARY, Run, RunFolderError
from cortexzoo.harness.runs.train import check_run, subject_of, train_run
from cortexzoo.harness.tracking.aim import sink as aim_tracking
from cortexzoo.harness.tracking.jsonl import EVENTS, METRICS, JsonlSink
from cortexzoo.specs import ExperimentSpec, SuiteSpec
from cortexzoo.specs.properties import PROPERTY_NAMES, PropertyName
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.costs import parameter_count
from cortexzoo.zoo.data.order import cut_windows, validation_starts
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.errors import CheckpointError, DataError
from cortexzoo.zoo.training.evaluation import lm_loss
from tests.harness.trained import FEW, QUIET, small, train_small


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_small(tmp_path_factory.mktemp("runs"))


def test_a_finished_run_is_complete(run: Run) -> None:
    names = {path.name for path in run.path.iterdir()}
    assert names >= {SPEC, METRICS, EVENTS, SUMMARY, MANIFEST, CURVES, CHECKPOINTS}
    assert {path.name for path in (run.path / CHECKPOINTS).iterdir()} == {"best", "last"}
    assert run.finished
    assert Run.open(run.path).spec == small()


def test_every_step_is_recorded(run: Run) -> None:
    lines = run.metrics()
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert all({"train/loss", "train/learning_rate", "train/gradient_norm", "time"} <= set(line) for line in lines)
    assert [line["step"] for line in lines if "validation/loss" in line] == [6, 12]
    kinds = {event["kind"] for event in run.events()}
    assert {"consolidation", "checkpoint"} <= kinds


def test_the_summary_says_what_training_came_to(run: Run) -> None:
    summary = run.summary
    assert summary["status"] == "finished"
    assert (summary["steps_taken"], summary["steps_refused"]) == (12, 0)
    assert summary["parameters"] == parameter_count(run.spec.variant)
    assert summary["best_validation_loss"] <= summary["validation_loss"]
    assert summary["bigram_loss"] < summary["unigram_loss"]
    assert summary["test_ngram_loss"] < summary["bigram_loss"] and 1 <= summary["test_ngram_order"] <= 6
    assert set(summary["gate_shares"]) == {"current", "short_term", "long_term"}
    assert summary["tokens_per_second"] > 0 and summary["peak_memory_bytes"] > 0 and summary["seconds"] > 0


def test_the_test_part_is_measured_with_the_best_checkpoint(run: Run) -> None:
    data, recipe = TextData.from_spec(run.spec.data), run.spec.recipe
    model, state = run.load_model("best")
    text, length = data.test, recipe.sequence_length
    starts = validation_starts(len(text), length, recipe.monitor.validation_sequences)
    with torch.no_grad():
        losses = [
            float(lm_loss(model, cut_windows(text, starts[[i]], length), model.between_batches(state, 1))[0])
            for i in range(len(starts))
        ]
    assert run.summary["test_loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    assert set(run.summary["test_loss_disabled"]) == {"short_term", "long_term"}


def test_the_manifest_says_what_it_was_made_with(run: Run) -> None:
    manifest = run.manifest
    assert manifest["spec_hash"] == small().hash()
    assert manifest["versions"]["torch"] == torch.__version__
    assert len(manifest["data_sha256"]) == 64
    assert manifest["threads"] == torch.get_num_threads()
    assert manifest["command"]


def test_the_trained_model_can_be_used(run: Run) -> None:
    random_state = torch.get_rng_state()
    model, state = run.load_model("last")
    assert torch.equal(torch.get_rng_state(), random_state)
    assert not model.training
    assert state.sizes()["ltm"] > 0
    with torch.no_grad():
        output = model(torch.zeros(3, 5, dtype=torch.long), model.between_batches(state, 3))
    assert output.logits.shape == (3, 5, 256)


SOME: dict[PropertyName, Check] = {
    name: Check()
    for name in (
        "better_than_counting", "every_parameter_learns", "finite_gradients", "repeatability", "batch_isolation",
        "causality",
    )
}  # fmt: skip


def test_the_certificate_is_written_and_reads_back(run: Run, tmp_path: Path) -> None:
    suite, spec = SuiteSpec(name="some", properties=SOME), run.spec
    run = Run(Path(shutil.copytree(run.path, tmp_path / "run")))
    run.write_spec(SPEC, spec.model_copy(update={"suite": suite}))
    heard: list[str] = []
    certificate = check_run(run, warn=pytest.fail, started=heard.append)
    assert heard == [name for name in PROPERTY_NAMES if name in SOME]
    assert run.certificate == certificate
    verdicts = {judgement.name: judgement.verdict for judgement in certificate.judgements}
    assert verdicts["causality"] == verdicts["batch_isolation"] == verdicts["repeatability"] == "pass"
    assert verdicts["every_parameter_learns"] == verdicts["finite_gradients"] == "pass"
    assert verdicts["better_than_counting"] == "fail"
    assert run.summary["verdicts"] == verdicts
    assert run.summary["verdict"] == certificate.outcome == "unexpected"
    content = json.loads((run.path / VERDICT).read_text())
    assert content["spec_hash"] == run.spec.hash()
    assert content["versions"] == run.manifest["versions"]


def test_the_subject_has_what_the_properties_need(run: Run) -> None:
    subject = subject_of(run, "last")
    assert subject.state.sizes()["ltm"] > 0
    assert subject.text.dtype == torch.long and len(subject.text) > 1000
    assert len(subject.metrics) == 12
    assert subject.summary["bigram_loss"] > 0


def test_another_text_than_the_trained_one_is_refused(run: Run, tmp_path: Path) -> None:
    (run.path / MANIFEST).replace(tmp_path / MANIFEST)
    try:
        content = json.loads((tmp_path / MANIFEST).read_text())
        (run.path / MANIFEST).write_text(json.dumps({**content, "data_sha256": "0" * 64}))
        with pytest.raises(RunFolderError, match="differs from the one it was trained on"):
            subject_of(run)
    finally:
        (tmp_path / MANIFEST).replace(run.path / MANIFEST)


def test_data_that_is_missing_leaves_nothing_behind(tmp_path: Path) -> None:
    experiment = small("data.source.kind=files", "data.source.paths=[nowhere.txt]")
    with pytest.raises(DataError):
        train_run(experiment, tmp_path / "runs", QUIET)
    assert list(tmp_path.iterdir()) == []


def _train_failing(runs: Path, experiment: ExperimentSpec) -> Run:
    """Train until it fails; the run folder that is left."""
    begun: list[Run] = []
    with pytest.raises((RunStopped, CheckpointError)):
        train_run(experiment, runs, replace(QUIET, began=begun.append))
    return begun[0]


def test_when_records_cannot_be_written_the_last_checkpoint_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = JsonlSink.metrics

    def full(self: JsonlSink, step: int, values: Mapping[str, float]) -> None:
        if step == 7:
            raise RunStopped("metrics.jsonl: cannot be written: No space left on device")
        real(self, step, values)

    monkeypatch.setattr(JsonlSink, "metrics", full)
    run = _train_failing(tmp_path, small())
    assert run.summary["status"] == "failed"
    assert "No space left" in run.summary["cause"]
    assert not run.finished
    model, _ = run.load_model("last")
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert [line["step"] for line in run.metrics()] == list(range(1, 7))


def test_a_tracker_that_breaks_does_not_stop_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Breaking:
        name = "aim"
        identity = "abc"

        def __init__(self, *_: object, **__: object) -> None:
            pass

        def metrics(self, step: int, values: Mapping[str, float]) -> None:
            raise RuntimeError("database is locked")

        def event(self, step: int, kind: str, detail: Mapping[str, object]) -> None:
            pass

        def outcome(self, *_: object, **__: object) -> None:
            pass

        def close(self) -> None:
            pass

    warnings: list[str] = []
    monkeypatch.setattr("cortexzoo.harness.tracking.aim.sink.AimSink", Breaking)
    run = train_run(small(), tmp_path, RunOptions(warn=warnings.append))
    assert run.finished and len(run.metrics()) == 12
    assert warnings == ["aim tracking disabled after an error; training continues: RuntimeError: database is locked"]
    assert run.manifest["trackers"] == {}


def test_without_aim_installed_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise ModuleNotFoundError("No module named 'aim'")

    warnings: list[str] = []
    monkeypatch.setattr(aim_tracking, "import_aim", missing)
    run = train_run(small(FEW), tmp_path, RunOptions(warn=warnings.append))
    check_run(run, warn=warnings.append)
    assert run.finished
    assert len(warnings) == 1 and "No module named 'aim'" in warnings[0]


def test_an_interrupted_run_is_saved_and_says_so(tmp_path: Path) -> None:
    import signal

    real = JsonlSink.metrics

    def interrupting(self: JsonlSink, step: int, values: Mapping[str, float]) -> None:
        real(self, step, values)
        if step == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JsonlSink, "metrics", interrupting)
        run = train_small(tmp_path)
    assert run.summary["status"] == "interrupted"
    assert run.summary["steps_taken"] == 3
    assert not run.finished
    assert (run.path / CURVES).is_file()
    run.load_model("last")
