"""`monitor-cost`: the processor time that the dashboard takes for a run of 50 steps a second.

This process writes records with every metric of a real run; another shows the dashboard without a terminal, and is
measured once it has started.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

import psutil

from cortexzoo.harness.bench.benchmark import Case
from cortexzoo.harness.bench.generated_runs import experiment, generated_run, metrics_of
from cortexzoo.harness.tracking.jsonl import JsonlSink

STEPS_A_SECOND = 50
LONG, SHORT = 20.0, 5.0
START = 8.0
"""Seconds that the dashboard has for starting, before it is measured."""
SHOWN = """
import sys
from cortexzoo.harness.monitor.dashboard import Dashboard
from cortexzoo.harness.monitor.run_view import RunView
from cortexzoo.harness.monitor.sources import FolderSource
from cortexzoo.harness.runs.run_folder import Run
view = RunView(FolderSource(Run.open(sys.argv[1])))
view.look()
Dashboard([view]).run(headless=True, size=(120, 50))
"""


class MonitorCost:
    """`ours` is processor time a second of watching: 30 ms are 3 % of a core."""

    headline = ""

    def cases(self, quick: bool) -> Sequence[Case]:
        watched: list[tuple[float, float]] = []
        return [Case("watching", watch(SHORT if quick else LONG, watched), figures=lambda: figures(watched))]


def watch(seconds: float, watched: list[tuple[float, float]]) -> Callable[[], float]:
    """One dashboard, watched for that long; `watched` also receives the steps written a second."""

    def turn() -> float:
        with tempfile.TemporaryDirectory() as folder:
            run = generated_run(Path(folder), experiment(), steps=0, finished=False)
            board = subprocess.Popen([sys.executable, "-c", SHOWN, str(run.path)], stdout=subprocess.DEVNULL)
            try:
                watched.append(_measured(psutil.Process(board.pid), JsonlSink(run.path), seconds))
            finally:
                board.kill()
                board.wait()
        return watched[-1][0]

    return turn


def figures(watched: Sequence[tuple[float, float]]) -> Mapping[str, float]:
    """Medians of the turns."""
    return {
        "percent_of_one_core": 100 * median(share for share, _ in watched),
        "steps_a_second": median(written for _, written in watched),
    }


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
