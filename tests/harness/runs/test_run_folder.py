"""A run folder is made whole or not at all, reads back what was written, and says in one line what is wrong with it."""

import json
import os
import stat
from pathlib import Path

import pytest

from cortexzoo.harness.checking.schema import FORMAT
from cortexzoo.harness.checking.verdict import VERDICT
from cortexzoo.harness.errors import RunStopped
from cortexzoo.harness.runs.find import finished_runs
from cortexzoo.harness.runs.run_folder import MANIFEST, PARSED, SPEC, SUMMARY, Run, RunFolderError
from cortexzoo.specs import load_experiment
from tests.harness import tiny


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def finished(runs: Path, **recipe: int) -> Run:
    """A run that claims to be finished."""
    experiment = tiny.experiment(**recipe)
    run = Run.create(runs, experiment)
    run.write_json(MANIFEST, {"spec_hash": experiment.hash()})
    run.write_json(SUMMARY, {"status": "finished"})
    return run


def test_a_new_run_holds_its_spec(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "runs", tiny.experiment())
    assert run.path.parent == tmp_path / "runs" / "tiny"
    assert files(run.path) == [PARSED, SPEC]
    assert Run.open(run.path).spec == tiny.experiment()


def test_the_spec_is_parsed_once_and_read_as_json_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.create(tmp_path, tiny.experiment())
    as_yaml = load_experiment(str(run.path / SPEC))
    monkeypatch.setattr("cortexzoo.harness.runs.run_folder.load_experiment", pytest.fail)
    assert Run.open(run.path).spec == as_yaml
    changed = tiny.experiment(steps=17)
    run.write_spec(SPEC, changed)
    assert Run.open(run.path).spec == changed


@pytest.mark.parametrize("parsed", [None, "", "[]", '{"sha256": 3}', "{}"])
def test_the_yaml_is_what_counts(tmp_path: Path, parsed: str | None) -> None:
    """Whoever edits it, or loses or breaks the parsed form, reads what it says."""
    run = Run.create(tmp_path, tiny.experiment())
    if parsed is None:
        text = (run.path / SPEC).read_text()
        (run.path / SPEC).write_text(text.replace("seed: 0", "seed: 5"))
        assert Run.open(run.path).spec.seed == 5
    else:
        (run.path / PARSED).write_text(parsed)
        assert Run.open(run.path).spec == tiny.experiment()


def test_run_names_differ_and_sort_by_time(tmp_path: Path) -> None:
    names = [Run.create(tmp_path, tiny.experiment()).path.name for _ in range(20)]
    assert len(set(names)) == 20
    assert [name[:19] for name in names] == sorted(name[:19] for name in names)


def test_a_clock_that_was_set_back_changes_no_order(tmp_path: Path) -> None:
    future = tmp_path / "another" / "29990101-000000-000-abcd"
    future.mkdir(parents=True)
    first, second = (Run.create(tmp_path, tiny.experiment()).path.name for _ in range(2))
    assert future.name < first < second
    assert first.startswith("29990101-000000-001-")


def test_a_run_without_a_spec_is_empty_until_it_has_more(tmp_path: Path) -> None:
    folder = tmp_path / "tiny" / "20250101-000000-000-abcd"
    folder.mkdir(parents=True)
    (folder / ".spec.yaml.x").touch()
    with pytest.raises(RunFolderError, match=r"ended before its spec\.yaml was written.*--remove-empty"):
        Run.open(folder)
    (folder / "metrics.jsonl").touch()
    with pytest.raises(RunFolderError, match=r"not a run folder: it has no spec\.yaml"):
        Run.open(folder)


def test_a_file_in_the_place_of_the_runs_folder(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(RunFolderError, match="no run can be written here"):
        Run.create(tmp_path / "runs" / "deeper", tiny.experiment())
    assert files(tmp_path) == ["runs"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_runs_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(RunFolderError, match="Permission denied"):
        Run.create(tmp_path / "runs", tiny.experiment())


def test_a_discarded_run_leaves_only_what_was_there_before(tmp_path: Path) -> None:
    Run.create(tmp_path / "runs" / "deep", tiny.experiment()).discard()
    assert files(tmp_path) == []
    kept = Run.create(tmp_path, tiny.experiment())
    Run.create(tmp_path, tiny.experiment()).discard()
    assert [kept.path] == list((tmp_path / "tiny").iterdir())


def test_when_the_spec_cannot_be_written_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunFolderError, match="No space left on device"):
        Run.create(tmp_path / "runs", tiny.experiment())
    assert files(tmp_path) == []


def test_json_is_replaced_whole_or_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.create(tmp_path, tiny.experiment())
    run.write_json(SUMMARY, {"loss": float("inf"), "name": "größer"})
    assert run.summary == {"loss": float("inf"), "name": "größer"}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunStopped, match=r"summary\.json: cannot be written: No space left on device"):
        run.write_json(SUMMARY, {"loss": 1.0})
    assert run.summary["loss"] == float("inf")
    assert files(run.path) == [PARSED, SPEC, SUMMARY]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="missing: no such run folder"):
        Run.open(tmp_path / "missing")


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"not a run folder: it has no spec\.yaml$"):
        Run.open(tmp_path)


def test_the_folder_of_an_experiment_names_its_newest_run(tmp_path: Path) -> None:
    Run.create(tmp_path, tiny.experiment())
    newest = Run.create(tmp_path, tiny.experiment()).path
    with pytest.raises(RunFolderError, match=f"did you mean {newest}"):
        Run.open(tmp_path / "tiny")


def test_a_half_written_run_says_what_is_missing(tmp_path: Path) -> None:
    run = Run.open(Run.create(tmp_path, tiny.experiment()).path)
    for read in (lambda: run.summary, lambda: run.manifest, lambda: run.certificate):
        with pytest.raises(RunFolderError, match="missing: the run has not reached this stage"):
            read()
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl: cannot be read"):
        run.metrics()
    with pytest.raises(RunFolderError, match="no such checkpoint"):
        run.load_model()
    assert not run.finished


@pytest.mark.parametrize("content", ["", "{", "[1]", "\x00"])
def test_a_damaged_json_file_is_named(tmp_path: Path, content: str) -> None:
    run = Run.create(tmp_path, tiny.experiment())
    (run.path / SUMMARY).write_text(content)
    with pytest.raises(RunFolderError, match=r"summary\.json"):
        _ = run.summary


def test_a_verdict_file_of_another_shape_is_refused(tmp_path: Path) -> None:
    run = Run.create(tmp_path, tiny.experiment())
    (run.path / VERDICT).write_text(json.dumps({"format": FORMAT, "properties": {"causality": {"mood": "good"}}}))
    with pytest.raises(RunFolderError, match="not a verdict file"):
        _ = run.certificate
    (run.path / VERDICT).write_text(json.dumps({"properties": {"causality": {"verdict": "pass"}}}))
    with pytest.raises(RunFolderError, match="is a certificate of format 1, format 2 is required: check again"):
        _ = run.certificate


def test_a_damaged_spec_is_told_in_one_message(tmp_path: Path) -> None:
    run = Run.create(tmp_path, tiny.experiment())
    (run.path / SPEC).write_text("kind: experiment\nseed: -1\n")
    with pytest.raises(RunFolderError, match=r"spec\.yaml"):
        _ = Run.open(run.path).spec


def test_finished_runs_of_the_same_experiment_newest_first(tmp_path: Path) -> None:
    old, other, new = finished(tmp_path), finished(tmp_path, steps=7), finished(tmp_path)
    half = Run.create(tmp_path, tiny.experiment())
    found = [run.path for run in finished_runs(tmp_path, tiny.experiment())]
    assert sorted(found) == sorted([old.path, new.path])
    assert found == sorted(found, reverse=True)
    assert other.path not in found and half.path not in found
    assert list(finished_runs(tmp_path / "missing", tiny.experiment())) == []
