"""Cost of the dashboard for 50 steps a second: `cortexzoo bench monitor-cost [--seconds N]`.

A process writes records with every metric of a real run; another shows the dashboard without a terminal. Reported is
the share of one core that the dashboard took, once it had started. Never a test: a time depends on the machine.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from cortexzoo.harness.bench.generated_runs import experiment, generated_run, metrics_of
from cortexzoo.harness.tracking.jsonl import JsonlSink

STEPS_A_SECOND = 50
START = 8.0
"""Seconds that the dashboard has for starting, before it is measured."""
SHOWN = """
import sys
from cortexzoo.harness.monitor.dashboard import Dashboard
from cortexzoo.harness.monitor.run_view import RunView
from cortexzoo.harness.monitor.sources import FolderSource
from cortexzoo.harness.runs.run_folder import Run
Dashboard([RunView(FolderSource(Run.open(sys.argv[1])))]).run(headless=True, size=(120, 50))
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="cortexzoo bench monitor-cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        run = generated_run(Path(folder), experiment(), steps=0, finished=False)
        board = subprocess.Popen([sys.executable, "-c", SHOWN, str(run.path)], stdout=subprocess.DEVNULL)
        try:
            share, written = _measured(psutil.Process(board.pid), JsonlSink(run.path), options.seconds)
        finally:
            board.kill()
            board.wait()
    print(json.dumps({"steps_a_second": round(written, 1), "percent_of_one_core": round(100 * share, 1)}))
    return 0


def _measured(board: psutil.Process, sink: JsonlSink, seconds: float) -> tuple[float, float]:
    """CPU seconds of the dashboard a second, and steps written a second."""
    began = time.perf_counter()
    step, before, measured_from, first = 0, 0.0, 0.0, 0
    while (now := time.perf_counter() - began) < START + seconds:
        if not measured_from and now >= START:
            before, measured_from, first = _busy(board), now, step
        step += 1
        sink.metrics(step, metrics_of(step))
        time.sleep(max(0.0, step / STEPS_A_SECOND - (time.perf_counter() - began)))
    passed = time.perf_counter() - began - measured_from
    return (_busy(board) - before) / passed, (step - first) / passed


def _busy(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
