"""The Aim repository can be thrown away: the run folders give it back, whole, and only once."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

pytest.importorskip("aim", reason="Aim is not available for this Python or system")

from cortexzoo.harness.runs.aim_sync import sync, sync_all
from cortexzoo.harness.runs.find import all_runs
from cortexzoo.harness.runs.run_folder import MANIFEST, Run, RunFolderError
from cortexzoo.harness.runs.train import check_run
from cortexzoo.harness.tracking.aim.sink import REPOSITORY, AimError
from tests.aim_reading import read_series
from tests.harness.trained import FEW, train_small

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = train_small(tmp_path_factory.mktemp("runs"), "recipe.steps=50", FEW)
    check_run(run, warn=pytest.fail)
    return run


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    """A copy whose Aim repository does not exist yet."""
    folder = tmp_path / trained.spec.name / trained.path.name
    shutil.copytree(trained.path, folder)
    return Run.open(folder)


def without_none(node: object) -> object:
    """As Aim stores it."""
    if isinstance(node, dict):
        return {key: without_none(value) for key, value in node.items()}
    return "none" if node is None else node


def stored(run: Run) -> tuple[dict[str, object], list[str], dict[str, set[str]]]:
    """Parameters, tags, and the names of what was tracked, by type."""
    from aim import Run as AimRun  # type: ignore[attr-defined]

    kept = AimRun(run.manifest["trackers"]["aim"], repo=str(run.path.parent.parent), read_only=True)
    kinds = kept.collect_sequence_info(("metric", "texts", "images", "distributions"), skip_last_value=True)
    tracked = {kind: {sequence["name"] for sequence in sequences} for kind, sequences in kinds.items()}
    return kept[...], kept.tags, tracked


def test_everything_of_a_run_arrives(run: Run) -> None:
    assert sync(run) == "written"
    runs, run_hash = run.path.parent.parent, run.manifest["trackers"]["aim"]
    parameters, tags, tracked = stored(run)
    assert parameters["variant"] == "cortexgpt-stable" and parameters["spec_hash"] == run.spec.hash()
    assert parameters["hparams"]["recipe"] == without_none(json.loads(run.spec.recipe.canonical_json()))  # type: ignore[index]
    assert parameters["summary"]["verdicts"] == run.summary["verdicts"]  # type: ignore[index]
    assert parameters["summary"]["margins"].keys() == run.summary["margins"].keys()  # type: ignore[index,union-attr]
    assert tags == ["variant:cortexgpt-stable", f"verdict:{run.summary['verdict']}"]
    assert tracked["texts"] == {"verdict", "events"} and tracked["images"] == {"curves"}
    assert tracked["distributions"] == {"train/gradient_norm/spread", "memory/gate_share/spread"}
    losses = [line["train/loss"] for line in run.metrics()]
    assert read_series(runs, "train/loss", run_hash=run_hash) == {None: (list(range(1, 51)), losses)}
    assert set(read_series(runs, "memory/gate_share", run_hash=run_hash)) == {"current", "short_term", "long_term"}


def test_deleting_the_repository_loses_nothing(run: Run, tmp_path: Path) -> None:
    """Moved away with its run, rather than deleted: Aim keeps a repository that it opened open."""
    sync(run)
    before = stored(run)
    elsewhere = tmp_path / "elsewhere" / run.spec.name / run.path.name
    shutil.copytree(run.path, elsewhere)
    moved = Run.open(elsewhere)
    assert moved.manifest["trackers"]["aim"] == run.manifest["trackers"]["aim"]
    assert sync(moved) == "written"
    assert stored(moved) == before


def test_what_is_there_is_left_and_what_changed_is_replaced(run: Run) -> None:
    sync(run)
    first = run.manifest["trackers"]["aim"]
    assert sync(run) == "up to date"
    assert run.manifest["trackers"]["aim"] == first
    (run.path / "verdict.json").unlink()
    assert sync(run) == "written"
    # Aim's own list of runs is cached for half a second, so the files are asked.
    kept = run.path.parent.parent / REPOSITORY / "meta" / "chunks"
    assert [chunk.name for chunk in kept.iterdir()] == [run.manifest["trackers"]["aim"]]


def test_a_run_that_is_half_written_or_in_training_is_left_out(run: Run) -> None:
    broken = run.path.parent / "19990101-000000-000-0000"
    broken.mkdir()
    (broken / "spec.yaml").write_text((run.path / "spec.yaml").read_text())
    runs = list(all_runs(run.path.parent.parent))
    assert [each.path.name for each in runs] == [broken.name, run.path.name]
    (_, first), (_, second) = sync_all(runs)
    assert first.startswith("left out: ") and MANIFEST in first and second == "written"
    with run.held(), pytest.raises(RunFolderError, match="is being trained by another process"):
        sync(Run.open(run.path))


def test_another_version_of_the_repository_is_one_clear_line(run: Run) -> None:
    repository = run.path.parent.parent / REPOSITORY
    repository.mkdir()
    (repository / "VERSION").write_text("99.0\n")
    with pytest.raises(AimError, match=r"another version of Aim \(its data are '99.0', 1.3 is needed\): move it away"):
        sync(run)
    assert sorted(path.name for path in repository.iterdir()) == ["VERSION"]


def test_a_run_that_another_process_writes_is_one_clear_line(run: Run) -> None:
    sync(run)
    program = """
import sys
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.tracking.aim.sink import open_sink
from cortexzoo.harness.tracking.base import TrackedRun
run = Run.open(sys.argv[1])
sink = open_sink(TrackedRun(run.path, run.spec, run.manifest["trackers"]["aim"]))
print("open", flush=True)
sys.stdin.read()
sink.close()
"""
    command = [sys.executable, "-W", "ignore", "-c", program, str(run.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        (run.path / "verdict.json").unlink()
        with pytest.raises(AimError, match="is being written by another process: try again later"):
            sync(run)
    assert sync(run) == "written"


def test_a_locked_repository_is_one_clear_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cortexzoo.harness.tracking.aim.sink.PATIENCE", 0.1)
    with (
        FileLock(run.path.parent.parent / ".aim.lock"),
        pytest.raises(AimError, match=r"is locked by another process for more than 0.1 s"),
    ):
        sync(run)
