"""The precision that ops compute in, whatever their inputs and whether or not autocast is on."""

from contextlib import AbstractContextManager, nullcontext
from functools import reduce

import torch
from torch import Tensor


def compute_dtype(*tensors: Tensor) -> torch.dtype:
    """The dtype to compute in and keep a state in: the widest of the inputs, but at least float32."""
    return reduce(torch.promote_types, (tensor.dtype for tensor in tensors), torch.float32)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Turns autocast off: it would run products in half precision, whatever the dtype of what they are given."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def autocast_is_on(device: torch.device) -> bool:
    """Whether autocast changes what runs on this device."""
    kind = device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
