"""The option that says where a trained model computes."""

from typing import TYPE_CHECKING, Annotated

import typer

from cortexzoo.harness.cli.errors import BadInput

if TYPE_CHECKING:
    import torch

DeviceOption = Annotated[
    str, typer.Option("--device", metavar="cpu|cuda|cuda:N", help="Where the model computes; a GPU only if named.")
]


def require_device(name: str) -> "torch.device":
    """The device of this name. Raises `BadInput` for another kind of device, and for a GPU that is not there."""
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda") or (device.type == "cpu" and device.index):
        raise BadInput(f"--device {name}: must be cpu, cuda or cuda:N")
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= there:
        raise BadInput(f"--device {name}: PyTorch finds {there or 'no'} GPU{'s' if there > 1 else ''} here")
    return device
