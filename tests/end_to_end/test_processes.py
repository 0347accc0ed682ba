"""Two processes train one run: one folder, one record, the losses of one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.run_folder import Run
from tests.harness.trained import SMALL, train_small
from tests.tolerances import PROCESSES

ROOT = Path(__file__).parents[2]
NO_DROPOUT = "variant.memory.short_term.read_out.dropout=0"


@pytest.mark.slow
def test_two_processes_train_one_run(tmp_path: Path) -> None:
    script = tmp_path / "cli.py"
    script.write_text("from harness.cli import main\nmain()\n")
    sets = [part for change in (*SMALL, NO_DROPOUT) for part in ("--set", change)]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script), "train",
         "cortexgpt-stable", *sets, "--no-aim", "--runs", str(tmp_path / "runs")],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs" / "cortexgpt-stable").iterdir()
    assert done.stdout.count("run folder:") == 1
    assert "next: cortexzoo check" in done.stdout
    together, alone = Run.open(folder), train_small(tmp_path / "alone", NO_DROPOUT)
    assert together.finished
    assert len(together.metrics()) == len(alone.metrics())
    for here, there in zip(together.metrics(), alone.metrics(), strict=True):
        assert here["train/loss"] == pytest.approx(there["train/loss"], rel=PROCESSES)
