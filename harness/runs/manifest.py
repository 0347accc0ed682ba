"""What a run was made with: versions, platform, threads, and the sums of spec and data."""

import importlib.metadata
import os
import platform
import sys
from collections.abc import Sequence
from typing import Any

from cortexzoo.specs import ExperimentSpec

PACKAGES = ("cortexzoo", "torch", "numpy", "faiss-cpu", "accelerate", "safetensors", "pydantic", "aim")


def versions() -> dict[str, str]:
    """Python and the packages that results depend on, by name; `absent` for one that is not installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "absent"
    return found


def circumstances() -> dict[str, Any]:
    """Versions, platform, device and thread count: results are bitwise equal only where these are."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {
        "versions": versions(),
        "platform": {"system": platform.platform(), "machine": platform.machine(), "processors": os.cpu_count()},
        "device": device,
        "threads": torch.get_num_threads(),
    }


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
