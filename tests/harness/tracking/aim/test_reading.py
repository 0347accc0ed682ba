"""What Aim was told of a run is read back, while it is told and afterwards, and by the dashboard."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("aim", reason="Aim is not available for this Python or system")

from cortexzoo.harness.bench.generated_runs import experiment, generated_run, metrics_of
from cortexzoo.harness.monitor.choosing import aim_sources
from cortexzoo.harness.monitor.run_view import RunView
from cortexzoo.harness.monitor.sources import AIM_EVERY, AimSource, FolderSource
from cortexzoo.harness.runs.aim_sync import sync
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.tracking.aim.reading import hash_of, hashes_by_age, read_run
from cortexzoo.harness.tracking.aim.sink import AimError, AimSink, open_sink
from cortexzoo.harness.tracking.base import TrackedRun
from cortexzoo.harness.tracking.jsonl import JsonlSink

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that Aim knows from its folder."""
    run = generated_run(tmp_path_factory.mktemp("runs"), experiment(), steps=3)
    sink = JsonlSink(run.path)
    sink.event(2, "rollback", {"cause": "loss 9 is a spike"})
    sink.event(3, "sleep_began", {"steps": 8})
    sink.close()
    sync(run)
    return run


@pytest.fixture
def live(run: Run) -> Iterator[AimSink]:
    """A run in the same repository that is being written."""
    begun = generated_run(run.path.parent.parent, experiment(1), steps=0, finished=False)
    sink = open_sink(TrackedRun(begun.path, begun.spec))
    assert sink is not None
    yield sink
    sink.close()


def test_a_synced_run_reads_back_as_its_folder_does(run: Run) -> None:
    runs = run.path.parent.parent
    found = read_run(runs, hash_of(runs, run.path.name))
    assert [{**line, "time": 0} for line in found.steps] == [{**line, "time": 0} for line in run.metrics()]
    assert found.events == [(2, "rollback", "cause loss 9 is a spike"), (3, "sleep_began", "steps 8")]
    assert found.parameters["spec"] == run.spec.canonical_json()


def test_both_sources_give_the_same_view(run: Run) -> None:
    (source,), left_out = aim_sources([run.path])
    from_aim, from_folder = RunView(source), RunView(FolderSource(run))
    assert from_aim.look() and from_folder.look()
    assert left_out == 0
    for name in ("experiment", "step", "last", "status", "events", "gates", "clip"):
        assert getattr(from_aim, name) == getattr(from_folder, name), name
    assert from_aim.path.name == run.path.name


def test_a_run_is_followed_while_it_is_written(run: Run, live: AimSink) -> None:
    runs, now = run.path.parent.parent, [0.0]
    source = AimSource(runs, live.identity, clock=lambda: now[0])
    view = RunView(source)
    view.look()
    assert (view.step, view.status, view.experiment.seed) == (0, "starting", 1)
    live.metrics(1, metrics_of(1))
    live.event(1, "rollback", {"cause": "x"})
    assert not view.look() and view.step == 0
    now[0] += AIM_EVERY
    assert view.look()
    assert (view.step, view.status) == (1, "running")
    live.metrics(2, metrics_of(2))
    now[0] += AIM_EVERY
    assert view.look()
    assert view.step == 2
    assert [event.kind for event in view.events] == ["rollback"]
    assert len(view.curves["train/loss"].points) == 2


def test_the_newest_runs_come_first(run: Run, live: AimSink) -> None:
    runs = run.path.parent.parent
    assert hashes_by_age(runs)[0] == live.identity
    sources, _ = aim_sources([runs])
    assert sources[0].experiment.seed == 1
    assert sources[-1].path.name == run.path.name


def test_what_is_not_there_is_told_in_one_line(run: Run, tmp_path: Path) -> None:
    runs = run.path.parent.parent
    with pytest.raises(AimError, match="contains no run 20: `cortexzoo aim-sync` copies it"):
        aim_sources([runs / "cortexgpt-stable" / "20"])
    with pytest.raises(AimError, match="contains no Aim repository: `cortexzoo aim-sync --runs"):
        aim_sources([tmp_path])
    with pytest.raises(AimError, match="contains no run x"):
        read_run(runs, "x")


def test_a_run_without_its_spec_is_told_in_one_line(run: Run) -> None:
    runs = run.path.parent.parent
    sink = AimSink(runs, experiment="old", parameters={"folder": "old"})
    sink.close()
    with pytest.raises(AimError, match="comes from an older cortexzoo, without its spec: `cortexzoo aim-sync`"):
        AimSource(runs, sink.identity)
