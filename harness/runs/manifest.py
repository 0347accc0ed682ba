"""What a run was made with: versions, platform, threads, and the sums of spec and data."""

import os
import sys
from collections.abc import Sequence
from typing import Any

from cortexzoo.harness.checking.circumstances import circumstances
from cortexzoo.specs import ExperimentSpec


def manifest(experiment: ExperimentSpec, *, run_id: str, command: Sequence[str], data_sha256: str) -> dict[str, Any]:
    """The content of `manifest.json`."""
    return {
        "experiment": experiment.name,
        "run": run_id,
        "spec_hash": experiment.hash(),
        "seed": experiment.seed,
        "data_sha256": data_sha256,
        "command": list(command),
        **circumstances(),
    }


def command_line() -> list[str]:
    """The command as it was typed, without the interpreter's path."""
    return [os.path.basename(sys.argv[0]), *sys.argv[1:]]
