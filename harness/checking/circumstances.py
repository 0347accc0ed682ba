"""What results depend on besides spec and data: versions, platform, device, threads."""

import importlib.metadata
import os
import platform
from typing import Any

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
    """Versions, platform, device, threads, compiled kernels: results are bitwise equal only where these are."""
    import torch

    from cortexzoo.zoo.ops import kernel_choice

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {
        # The build belongs to it, which the installed package does not always name: 2.6.0+cu124.
        "versions": versions() | {"torch": str(torch.__version__)},
        "platform": {"system": platform.platform(), "machine": platform.machine(), "processors": os.cpu_count()},
        "device": device,
        "threads": torch.get_num_threads(),
        **({"kernels": "compiled"} if kernel_choice.asked_for() else {}),
    }
