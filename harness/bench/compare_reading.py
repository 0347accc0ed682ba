"""Reading many runs for a comparison: `cortexzoo bench compare-reading [--runs 100] [--steps 500]`.

Makes run folders with twenty metrics a step, then times what `compare` does with them once they are trained: opening
each, its spec, all of its curves, the measures and the differences. Never a test: a time depends on the machine.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from cortexzoo.harness.bench.generated_runs import experiment, generated_run, metrics_of
from cortexzoo.harness.studies.comparison.comparing import compared
from cortexzoo.harness.studies.comparison.contenders import contenders

NAMES = ("cortexgpt-stable", "cortexgpt-original")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="cortexzoo bench compare-reading",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--steps", type=int, default=500)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        made = [
            generated_run(Path(folder), experiment(seed, name), steps=options.steps)
            for seed in range(options.runs // len(NAMES))
            for name in NAMES
        ]
        began, cpu = time.perf_counter(), time.process_time()
        found = contenders([str(run.path) for run in made], None, ())
        opened = time.perf_counter()
        comparison = compared(found, [each.runs for each in found], command=(), allow_different=False)
        read = time.perf_counter()
        content = comparison.as_json()
        ended, cpu = time.perf_counter(), time.process_time() - cpu
    assert len(content["variants"]) == len(NAMES)
    print(json.dumps({
        "runs": len(made), "metrics": len(metrics_of(1)), "steps": options.steps,
        "specs_s": round(opened - began, 2), "curves_s": round(read - opened, 2),
        "measures_s": round(ended - read, 2), "total_s": round(ended - began, 2), "cpu_s": round(cpu, 2),
    }))  # fmt: skip
    return 0
