"""How well `show --measure` predicts a run: `cortexzoo bench expected-duration [NAME…] [--steps N]`.

Calibrates each experiment, trains it, and reports the real duration as a multiple of the expected one. Never a test: a
time depends on what else the machine does.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from cortexzoo.harness.runs.calibration import calibrate
from cortexzoo.harness.runs.options import UNTRACKED
from cortexzoo.harness.runs.train import train_run
from cortexzoo.specs import load_experiment

NAMES = ("cortexgpt-stable", "cortexgpt-original", "transformer")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="cortexzoo bench expected-duration",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--steps", type=int, default=150)
    options = parser.parse_args(arguments)
    for name in options.names:
        experiment = load_experiment(name, [f"recipe.steps={options.steps}"])
        expected = calibrate(experiment)
        with tempfile.TemporaryDirectory() as folder:
            run = train_run(experiment, Path(folder), UNTRACKED)
            real = float(run.summary["seconds"]) + expected.start
        print(json.dumps({
            "experiment": name, "steps": options.steps, "threads": torch.get_num_threads(),
            "expected_s": round(expected.total, 1), "real_s": round(real, 1),
            "real_over_expected": round(real / expected.total, 2),
        }))  # fmt: skip
    return 0
