"""Two processes train one run: one folder, one record, the losses of one process, and a resume without a trace."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cortexzoo.harness.fuzzing.killing import record
from cortexzoo.harness.runs.interventions import Interventions
from cortexzoo.harness.runs.run_folder import FAULTS, Run, RunFolderError
from cortexzoo.harness.runs.train import train_run
from cortexzoo.specs import load
from tests.harness.trained import QUIET, SMALL, small
from tests.tolerances import PROCESSES

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
NO_DROPOUT = "variant.memory.short_term.read_out.dropout=0"
POISONED = "one: {kind: non_finite, place: gradient, rank: 1, step: 3, expect: skip, harms: true}"
KILLED = "end: {kind: kill, during: save, step: 7, expect: harmless, harms: false}"
COMMAND = """
import sys, torch
from cortexzoo.harness.cli import main
code = main()
assert code or not torch.distributed.is_initialized(), "a process that ends in the group may be aborted"
sys.exit(code)
"""


def together(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`cortexzoo train cortexgpt-stable`, made small, by two processes."""
    folder.mkdir(exist_ok=True)
    script = folder / "cli.py"
    script.write_text(COMMAND)
    sets = [part for change in (*SMALL, NO_DROPOUT) for part in ("--set", change)]
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script), "train",
         "cortexgpt-stable", *sets, "--trackers=jsonl", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )  # fmt: skip


def faults(folder: Path, *lines: str) -> str:
    file = folder / f"faults-{len(lines)}.yaml"
    file.write_text("kind: faults\nname: f\nfaults:\n" + "".join(f"  {line}\n" for line in lines))
    return str(file)


def the_run(runs: Path) -> Run:
    (folder,) = (runs / "cortexgpt-stable").iterdir()
    return Run.open(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Trained by two processes, with a gradient that was NaN on the second."""
    folder = tmp_path_factory.mktemp("whole")
    done = together(folder, "--runs", str(folder / "runs"), "--inject", faults(folder, POISONED))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run folder:") == 1
    assert "1 faults injected: one" in done.stdout
    assert "next: cortexzoo check" in done.stdout
    return the_run(folder / "runs")


def test_two_processes_train_one_run(whole: Run, tmp_path: Path) -> None:
    in_all = load(faults(tmp_path, POISONED.replace("rank: 1, ", "")), "faults")
    alone = train_run(
        small(NO_DROPOUT),
        tmp_path / "alone",
        replace(QUIET, interventions=Interventions(in_all)),
    )
    assert whole.finished
    assert (whole.summary["steps_taken"], whole.summary["steps_refused"]) == (11, 1)
    assert (whole.path / FAULTS).is_file()
    assert len(whole.metrics()) == len(alone.metrics())
    for here, there in zip(whole.metrics(), alone.metrics(), strict=True):
        assert here["train/loss"] == pytest.approx(there["train/loss"], rel=PROCESSES)


def test_killed_and_resumed_by_two_processes_equals_never_killed(whole: Run, tmp_path: Path) -> None:
    killed = together(tmp_path, "--runs", str(tmp_path / "runs"), "--inject", faults(tmp_path, POISONED, KILLED))
    assert "SIGKILL" in killed.stderr
    run = the_run(tmp_path / "runs")
    with pytest.raises(RunFolderError):
        _ = run.summary
    resumed = together(tmp_path, "--resume", str(run.path))
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming at step 4" in resumed.stdout
    assert record(the_run(tmp_path / "runs")) == record(whole)
    assert "last/memory.rank-1" in record(whole)


def test_what_only_the_first_process_finds_ends_both(whole: Run, tmp_path: Path) -> None:
    done = together(tmp_path, "--resume", str(whole.path))
    assert done.stderr.count("has taken all its 12 steps, nothing is left to do") == 1
    assert "exitcode  : 2" in done.stderr
    assert "defect" not in done.stderr
    assert "terminate" not in done.stderr
