"""`compare-reading`: what `compare` does with trained runs: it opens them, reads their curves, and measures."""

import atexit
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cortexzoo.harness.bench.benchmark import Case, timed
from cortexzoo.harness.bench.generated_runs import experiment, generated_run
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.studies.comparison.comparing import compared
from cortexzoo.harness.studies.comparison.contenders import contenders

NAMES = ("cortexgpt-stable", "cortexgpt-original")
STEPS = 500
RUNS, FEW = (20, 100), (2, 10)


class CompareReading:
    """Runs with twenty metrics a step, by their number. The parts of one reading are seconds on the wall."""

    headline = ""

    def cases(self, quick: bool) -> Sequence[Case]:
        folder = tempfile.TemporaryDirectory()
        atexit.register(folder.cleanup)
        made = [
            generated_run(Path(folder.name), experiment(seed, name), steps=STEPS)
            for seed in range(max(FEW if quick else RUNS) // len(NAMES))
            for name in NAMES
        ]
        return [
            Case(
                f"runs-{count}",
                timed(lambda runs=made[:count]: seconds_of_parts(runs)),  # type: ignore[misc]
                series="compare",
                size=count,
                figures=lambda runs=made[:count]: seconds_of_parts(runs),  # type: ignore[misc]
            )
            for count in (FEW if quick else RUNS)
        ]


def seconds_of_parts(runs: Sequence[Run]) -> Mapping[str, float]:
    """Seconds of each part of a reading."""
    began = time.perf_counter()
    found = contenders([str(run.path) for run in runs], None, ())
    opened = time.perf_counter()
    comparison = compared(found, [each.runs for each in found], command=(), allow_different=False)
    read = time.perf_counter()
    content = comparison.as_json()
    ended = time.perf_counter()
    assert len(content["variants"]) == len(NAMES)
    return {"specs_s": opened - began, "curves_s": read - opened, "measures_s": ended - read, "total_s": ended - began}
