"""A run that goes on ends as if it had never stopped, and whatever cannot go on is one line and loses nothing."""

import errno
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cortexzoo.harness.checking.verdict import VERDICT
from cortexzoo.harness.errors import RunStopped
from cortexzoo.harness.fuzzing.killing import record
from cortexzoo.harness.runs import resume as resume_module
from cortexzoo.harness.runs.resume import resume_run
from cortexzoo.harness.runs.run_folder import CHECKPOINTS, MANIFEST, SUMMARY, Run, RunFolderError
from cortexzoo.harness.runs.spec_changes import differences, in_words
from cortexzoo.harness.runs.train import check_run, train_run
from cortexzoo.harness.tracking.jsonl import EVENTS, METRICS
from cortexzoo.specs import ExperimentSpec
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.sleep.phase import SleepPhase
from tests.harness.trained import FEW, QUIET, small
from tests.quick import in_slow

TOUCHY = (
    "recipe.spikes={kind: robust, deviations: 2.0, gradient_deviations: 2.0, min_history: 3, rebaseline_after: 2}",
    "recipe.spikes.action=rollback",
    "recipe.clipping={kind: adaptive, min_history: 3}",
    "recipe.recovery.every=3",
    "recipe.recovery.storm_limit=50",
    "recipe.monitor.keep_last=2",
    "recipe.sleep={kind: replay, every: 3, steps: 2, batch_size: 2, reservoir: 5, ewc_weight: 1.0}",
    FEW,
)


def train(runs: Path, experiment: ExperimentSpec) -> Run:
    return train_run(experiment, runs, QUIET)


def resume(run: Run, experiment: ExperimentSpec | None = None, **options: Any) -> Run:
    return resume_run(run.path, experiment or run.spec, **{"options": QUIET, **options})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tmp_path_factory.mktemp("finished"), small(*TOUCHY))


def killed(runs: Path, moment: str, step: int) -> Run:
    """A run that died, by SIGKILL, when step `step` came to `moment`."""

    def die() -> None:
        owner: Any = SleepPhase if moment == "_dream_loss" else TrainingLoop
        original: Callable[..., None] = getattr(owner, moment)

        def deadly(dying: Any, *arguments: Any) -> Any:
            if getattr(dying, "trainer", dying).position >= step:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(dying, *arguments)

        setattr(owner, moment, deadly)
        train(runs, small(*TOUCHY))

    process = multiprocessing.get_context("fork").Process(target=die)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    return Run.open(next(iter(runs.glob("*/*/spec.yaml"))).parent)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return killed(tmp_path_factory.mktemp("half"), "_update", 9)


def copy(run: Run, folder: Path) -> Run:
    return Run.open(shutil.copytree(run.path, folder / "runs" / "x" / run.path.name))


def everything(run: Run) -> dict[str, bytes]:
    return {
        str(path.relative_to(run.path)): path.read_bytes()
        for path in sorted(run.path.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def without_older(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if not name.startswith("step-")}


def test_the_recipe_has_something_to_remember(finished: Run) -> None:
    assert finished.summary["steps_refused"] > 0
    assert finished.summary["rollbacks"] > 0
    assert sum(event["kind"] == "sleep" for event in finished.events()) > 2


@pytest.mark.parametrize(
    ("moment", "step"),
    [
        ("_update", 0),
        in_slow(("_forward_backward", 3)),
        ("_update", 6),
        ("save", 7),
        in_slow(("save", 8)),
        ("_result", 12),
        ("_dream_loss", 9),
    ],
)
def test_killed_and_resumed_equals_never_killed(finished: Run, tmp_path: Path, moment: str, step: int) -> None:
    run = resume(killed(tmp_path, moment, step))
    assert run.finished
    assert record(run) == record(finished)
    same = {key: value for key, value in run.summary.items() if key not in CLOCK}
    assert same == {key: value for key, value in finished.summary.items() if key not in CLOCK}
    (resumed,) = run.manifest["resumed"]
    assert resumed["from_step"] in (0, 3, 4, 6, 7, 8, 12)
    assert run.manifest["spec_hash"] == finished.manifest["spec_hash"]


def test_a_run_that_was_stopped_in_mid_sleep_goes_on(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dream_loss = SleepPhase._dream_loss

    def stopping(sleep: SleepPhase, *arguments: Any) -> Any:
        if sleep.number == 2:
            sleep.trainer.stop("terminated")
        return dream_loss(sleep, *arguments)

    monkeypatch.setattr(SleepPhase, "_dream_loss", stopping)
    run = train(tmp_path, small(*TOUCHY))
    assert run.summary["stopped"] == "terminated"
    assert [event["detail"]["number"] for event in run.events() if event["kind"] == "sleep"] == [1]
    monkeypatch.undo()
    resume(run)
    found, expected = without_older(record(run)), without_older(record(finished))
    for each in (found, expected):
        del each["best/trainer"]["policies"]["checkpoints"]
    further = [event for event in found["events"] if event not in expected["events"]]
    assert [event["kind"] for event in further] == ["checkpoint"], "where it was stopped it was saved once more"
    found["events"].remove(further[0])
    assert found == expected


CLOCK = ("seconds", "tokens_per_second", "peak_memory_bytes", "other_busy_cores")


def test_an_interrupted_run_goes_on(finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = TrainingLoop._attempt

    def interrupted(trainer: TrainingLoop, number: int) -> Any:
        if number == 5:
            trainer.stop("interrupted")
        return attempt(trainer, number)

    monkeypatch.setattr(TrainingLoop, "_attempt", interrupted)
    run = train(tmp_path, small(*TOUCHY))
    assert run.summary["stopped"] == "interrupted"
    monkeypatch.undo()
    resume(run)
    found, expected = without_older(record(run)), without_older(record(finished))
    assert found.pop("events") != expected.pop("events"), "it was saved once more"
    for each in (found, expected):
        del each["best/trainer"]["policies"]["checkpoints"]
    assert found == expected


def test_another_spec_is_refused_with_what_differs(half: Run) -> None:
    before = everything(half)
    with pytest.raises(RunFolderError) as raised:
        resume(half, small(*TOUCHY, "seed=3", "recipe.clipping={kind: norm, max_norm: 1.0}"))
    message = str(raised.value)
    assert message.startswith(f"{half.path}: was trained with another spec: ")
    assert "seed (0, now 3)" in message and "recipe.clipping.kind (adaptive, now norm)" in message
    assert "\n" not in message
    assert everything(half) == before


def test_changes_may_be_allowed(half: Run, tmp_path: Path) -> None:
    run = copy(half, tmp_path)
    other = small(*TOUCHY, "recipe.steps=15", "recipe.clipping={kind: norm, max_norm: 1.0}")
    resume(run, other, allow_changes=True)
    assert run.finished
    assert [line["step"] for line in run.metrics()] == list(range(1, 16))
    assert Run.open(run.path).spec == other
    assert run.manifest["spec_hash"] == other.hash()


def test_changed_weights_cannot_be_allowed(half: Run) -> None:
    before = everything(half)
    with pytest.raises(RunFolderError, match="belongs to another model"):
        resume(half, small(*TOUCHY, "variant.hidden_size=32"), allow_changes=True)
    assert everything(half) == before


def test_a_finished_run_has_nothing_left(finished: Run) -> None:
    before = everything(finished)
    with pytest.raises(RunFolderError, match="has taken all its 12 steps, nothing is left to do"):
        resume(finished)
    assert everything(finished) == before


def test_a_run_can_go_on_from_an_earlier_checkpoint(finished: Run, tmp_path: Path) -> None:
    run = copy(finished, tmp_path)
    check_run(run, warn=pytest.fail)
    (earlier,) = [path.name for path in (run.path / CHECKPOINTS).iterdir() if path.name.startswith("step-")]
    resume(run, checkpoint=earlier)
    assert without_older(record(run)) == without_older(record(finished))
    assert not (run.path / VERDICT).exists(), "what was said of the run before is gone"


def test_a_damaged_checkpoint_is_named_with_what_would_do(half: Run, tmp_path: Path) -> None:
    run = copy(half, tmp_path)
    file = run.path / CHECKPOINTS / "last" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    before = everything(run)
    with pytest.raises(RunFolderError) as raised:
        resume(run)
    message = str(raised.value)
    assert message.startswith(f"{file}: is damaged: its sha256 is ")
    assert "(--checkpoint step-0000000" in message and "\n" not in message
    assert everything(run) == before


@pytest.mark.parametrize("changes", [[], ["recipe.steps=7"]], ids=["as it was", "fewer steps"])
def test_a_damaged_best_checkpoint_is_named_before_anything_changes(
    half: Run, changes: list[str], tmp_path: Path
) -> None:
    run = copy(half, tmp_path)
    file = run.path / CHECKPOINTS / "best" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    before = everything(run)
    with pytest.raises(RunFolderError, match=r"best/model\.safetensors: is damaged: .* the run can be resumed\)$"):
        resume(run, small(*TOUCHY, *changes), allow_changes=bool(changes))
    assert everything(run) == before


def test_a_checkpoint_that_is_not_there_is_named_with_one_that_is(half: Run) -> None:
    with pytest.raises(
        RunFolderError, match=r"manifest\.json is missing \(--checkpoint step-00000004 is an earlier one\)$"
    ):
        resume(half, checkpoint="step-00000099")


def test_records_with_a_gap_are_refused(half: Run, tmp_path: Path) -> None:
    run = copy(half, tmp_path)
    lines = (run.path / METRICS).read_text().splitlines(keepends=True)
    (run.path / METRICS).write_text("".join(lines[:2] + lines[3:]))
    with pytest.raises(RunFolderError, match="lacks step 3, which the checkpoint includes"):
        resume(run)


def test_damaged_records_are_refused_and_none_is_cut(half: Run, tmp_path: Path) -> None:
    run = copy(half, tmp_path)
    lines = (run.path / EVENTS).read_text().splitlines(keepends=True)
    (run.path / EVENTS).write_text("".join([*lines[:1], "garbage\n", *lines[1:]]))
    before = everything(run)
    with pytest.raises(RunFolderError, match=r"events\.jsonl:2: not a JSON object$"):
        resume(run)
    assert everything(run) == before
    (run.path / METRICS).write_bytes(b"\xff\n")
    with pytest.raises(RunFolderError, match=r"^[^ ]*metrics\.jsonl:1: not a JSON object$"):
        resume(run)


def test_a_run_without_a_manifest_starts_again(finished: Run, half: Run, tmp_path: Path) -> None:
    run = copy(half, tmp_path)
    (run.path / MANIFEST).unlink()
    shutil.rmtree(run.path / CHECKPOINTS)
    resume(run)
    assert record(run) == record(finished)


def test_no_run_no_resume(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no such run folder"):
        resume_run(tmp_path / "nowhere", small(), options=QUIET)


def test_a_folder_that_cannot_be_written_is_one_line(
    half: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy(half, tmp_path)
    opened = Path.open

    def read_only(path: Path, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        if "r" not in mode:
            raise OSError(30, os.strerror(30))
        return opened(path, mode, *arguments, **named)

    monkeypatch.setattr(Path, "open", read_only)
    with pytest.raises(RunStopped, match=r"metrics\.jsonl: cannot be written: Read-only file system$"):
        resume(run)


def test_a_run_is_trained_by_one_process_at_a_time(half: Run) -> None:
    with half.held(), pytest.raises(RunFolderError, match="is being trained by another process"):
        resume(half)


def test_differences_are_told_by_their_paths() -> None:
    old, new = small(), small("recipe.steps=13", "recipe.recovery={kind: none}")
    found = differences(old, new)
    assert found["recipe.steps"] == (12, 13)
    assert found["recipe.recovery.every"] == (50, None)
    assert in_words({"seed": (0, 1)}) == "seed (0, now 1)"
    assert differences(old, small()) == {}


def test_the_summary_of_a_run_that_failed_is_gone_while_it_goes_on(half: Run, tmp_path: Path) -> None:
    run = copy(half, tmp_path)
    (run.path / SUMMARY).write_text(json.dumps({"status": "failed", "cause": "the disk was full"}))
    resume(run)
    assert run.summary["status"] == "finished"


def test_a_full_disk_is_noticed_before_anything_is_dropped(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy(finished, tmp_path)
    (run.path / VERDICT).write_text("{}")
    before = everything(run)
    (earlier,) = [path.name for path in (run.path / CHECKPOINTS).iterdir() if path.name.startswith("step-")]

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(RunStopped, match="no room for a checkpoint of 1 MB: No space left on device"):
        resume(run, checkpoint=earlier)
    assert everything(run) == before


@pytest.mark.parametrize("moment", ["unlink", "cut_after"])
def test_a_resume_that_is_killed_while_it_drops_results_can_be_resumed(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    run = copy(finished, tmp_path)
    (earlier,) = [path.name for path in (run.path / CHECKPOINTS).iterdir() if path.name.startswith("step-")]

    removed = Path.unlink

    def unlink(path: Path, **options: bool) -> None:
        if path.name == SUMMARY:
            raise KeyboardInterrupt
        removed(path, **options)

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if moment == "unlink":
            patched.setattr(Path, moment, unlink)
        else:
            patched.setattr(resume_module, moment, cut)
        with pytest.raises(KeyboardInterrupt):
            resume(run, checkpoint=earlier)
    again = resume(run, checkpoint="last" if moment == "cut_after" else earlier)
    assert without_older(record(again)) == without_older(record(finished))


def test_a_save_that_was_cut_between_its_renames_loses_no_older_checkpoint(finished: Run, tmp_path: Path) -> None:
    def die_between() -> None:
        renamed = Path.rename

        def deadly(self: Path, target: Any) -> Path:
            if self.name == ".last.partial" and (self.parent / ".last.previous").exists():
                marker = self.parent / "marker"
                if marker.exists():
                    os.kill(os.getpid(), signal.SIGKILL)
                marker.touch()
            return renamed(self, target)

        Path.rename = deadly  # type: ignore[method-assign, assignment]
        train(tmp_path, small(*TOUCHY))

    process = multiprocessing.get_context("fork").Process(target=die_between)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    run = Run.open(next(iter(tmp_path.glob("*/*/spec.yaml"))).parent)
    assert not (run.path / CHECKPOINTS / "last").exists()
    (run.path / CHECKPOINTS / "marker").unlink()
    resume(run)
    assert record(run) == record(finished), "the older checkpoint included"


def test_other_circumstances_are_one_line_and_noted(half: Run, tmp_path: Path) -> None:
    run = copy(half, tmp_path)
    content = dict(run.manifest)
    content |= {"threads": content["threads"] + 1, "versions": {**content["versions"], "torch": "1.0"}}
    run.write_json(MANIFEST, content)
    warnings: list[str] = []
    resume(run, options=replace(QUIET, warn=warnings.append))
    threads, torch_now = content["threads"] - 1, run.manifest["versions"]["torch"]
    (line,) = warnings
    assert line == (
        f"resumed with {threads} threads instead of {threads + 1}, torch {torch_now} instead of 1.0: "
        "numbers may differ in their last bits from a run in one piece"
    )
    assert run.manifest["resumed"][-1]["changed"] == {"threads": [threads + 1, threads], "torch": ["1.0", torch_now]}


def test_a_resume_without_the_kernels_of_before_says_so(half: Run, tmp_path: Path) -> None:
    run = copy(half, tmp_path)
    run.write_json(MANIFEST, {**run.manifest, "kernels": "compiled"})
    warnings: list[str] = []
    resume(run, options=replace(QUIET, warn=warnings.append))
    (line,) = warnings
    assert line.startswith("resumed with kernels none instead of compiled: ")
