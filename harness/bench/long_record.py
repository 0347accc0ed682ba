"""Reads a generated run of a million steps with `monitor`, `compare` and `runs`, as processes of their own."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cortexzoo.harness.bench.corpus_memory import most_resident
from cortexzoo.harness.bench.generated_runs import experiment, generated_run
from cortexzoo.specs import load_experiment

OTHER, FEW = "transformer", 500


def measured(steps: int) -> Iterator[tuple[str, float, float]]:
    """Command, seconds on the wall, and gigabytes that were resident at most."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = ["--runs", name]
        spec = load_experiment("cortexgpt-stable", [f"recipe.steps={steps}"])
        long = str(generated_run(folder, spec, steps=steps).path)
        short = str(generated_run(folder, experiment(0, OTHER), steps=FEW).path)
        for what, command in {
            "monitor": ["monitor", long, "--snapshot", str(folder / "seen.svg")],
            f"compare, beside {FEW} steps": ["compare", long, short, "--no-check", "--allow-different", *runs],
            "runs": ["runs", *runs],
        }.items():
            began = time.perf_counter()
            gigabytes = most_resident(command)
            yield what, time.perf_counter() - began, gigabytes
