"""What was tracked can be read back from Aim, also when several processes create its repository at once."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("aim", reason="Aim is not available for this Python or system")

from cortexzoo.harness.tracking.aim.sink import REPOSITORY, AimSink
from cortexzoo.harness.tracking.deadlines import call_within
from tests.aim_reading import read_series

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all tests: making a repository takes a second."""
    return tmp_path_factory.mktemp("runs")


def _run_parameters(runs: Path, run_hash: str) -> tuple[dict[str, object], list[str]]:
    from aim import Run  # type: ignore[attr-defined]

    run = Run(run_hash, repo=str(runs), read_only=True)
    return run[...], run.tags


def test_metrics_parameters_and_tags_read_back(runs: Path) -> None:
    sink = AimSink(
        runs, experiment="tiny", parameters={"seed": 3, "hparams": {"a": None, "b": (1, 2)}}, tags=("variant:tiny",)
    )
    for step in (1, 2):
        shares = {"memory/gate_share/current": 0.75, "memory/gate_share/short_term": 0.25}
        sink.metrics(step, {"train/loss": 1.0 / step, **shares})
    sink.event(2, "checkpoint", {"name": "best"})
    sink.close()
    assert (runs / REPOSITORY).is_dir()
    assert read_series(runs, "train/loss", run_hash=sink.identity) == {None: ([1, 2], [1.0, 0.5])}
    assert read_series(runs, "memory/gate_share", run_hash=sink.identity) == {
        "current": ([1, 2], [0.75, 0.75]),
        "short_term": ([1, 2], [0.25, 0.25]),
    }
    parameters, tags = _run_parameters(runs, sink.identity)
    assert parameters["seed"] == 3
    assert parameters["hparams"] == {"a": "none", "b": [1, 2]}
    assert tags == ["variant:tiny"]


def test_a_later_outcome_replaces_the_one_before(runs: Path) -> None:
    first = AimSink(runs, experiment="tiny")
    first.metrics(1, {"train/loss": 1.0})
    first.close()
    for verdict in ("unexpected", "as expected"):
        again = AimSink(runs, experiment="tiny", run_hash=first.identity)
        again.outcome(
            {"verdict": verdict, "margins": {"causality": 0.0}}, report="All is well.", picture=runs / "none.png"
        )
        again.close()
    parameters, tags = _run_parameters(runs, first.identity)
    assert parameters["summary"] == {"verdict": "as expected", "margins": {"causality": 0.0}}
    assert tags == ["verdict:as expected"]
    assert read_series(runs, "train/loss", run_hash=first.identity) == {None: ([1], [1.0])}


def test_metrics_after_close_are_refused(runs: Path) -> None:
    sink = AimSink(runs, experiment="tiny")
    sink.close()
    sink.close()
    with pytest.raises(RuntimeError, match="after close"):
        sink.metrics(1, {"train/loss": 1.0})


def test_a_run_that_one_thread_opens_and_another_closes_is_unlocked(runs: Path) -> None:
    sink = call_within(60, "opening", lambda: AimSink(runs, experiment="tiny"))
    lock = runs / REPOSITORY / "locks" / f"{sink.identity}.softlock"
    assert lock.exists()
    call_within(60, "closing", sink.close)
    assert not lock.exists()
    assert not [file for file in map(os.path.realpath, Path("/proc/self/fd").glob("*")) if lock.name in file]


def test_a_broken_repository_raises(tmp_path: Path) -> None:
    (tmp_path / REPOSITORY).write_text("not a folder")
    with pytest.raises(Exception, match=r"."):
        AimSink(tmp_path, experiment="tiny")


@pytest.mark.parametrize("count", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_processes_that_start_together_all_track(tmp_path: Path, count: int) -> None:
    program = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from cortexzoo.harness.tracking.aim import sink as aim_tracking
        aim_tracking.PATIENCE = 600  # a busy machine opens one repository after another slowly
        sink = aim_tracking.AimSink(Path(sys.argv[1]), experiment="tiny")
        sink.metrics(1, {"train/loss": 1.0})
        sink.close()
        print(sink.identity)
        """
    )
    command = [sys.executable, "-W", "ignore", "-c", program, str(tmp_path)]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(count)
    ]
    ended = [(process.communicate(), process.returncode) for process in started]
    assert [code for _, code in ended] == [0] * count, ended
    for (output, _), _ in ended:
        assert read_series(tmp_path, "train/loss", run_hash=output.strip()) == {None: ([1], [1.0])}
