"""Modules that hang, crash, raise, or are none."""

import ctypes
import os
import time

import torch
from torch import Tensor, nn

NOT_A_FUNCTION = 3


class Linear(nn.Module):
    """Healthy: a map of each vector by itself, and a mean over those before it."""

    scales_linearly = True

    def __init__(self) -> None:
        super().__init__()
        self.here, self.past = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        count = torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None]
        result: Tensor = self.here(x) + self.past(x.cumsum(1) / count)
        return result


class Hanging(Linear):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] == 6:
            time.sleep(3600)
        return super().forward(x)


class Exiting(Linear):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] == 6:
            os._exit(7)
        return super().forward(x)


class Crashing(Linear):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] == 6:
            ctypes.string_at(0)
        return super().forward(x)


class Raising(Linear):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] == 41:
            raise ValueError(f"anything but 41, got {x.shape[1]}")
        return super().forward(x)


class Wordy(nn.Module):
    def forward(self, x: Tensor) -> str:
        return "no tensor"


class Pooling(Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).mean(1)


def raises() -> nn.Module:
    raise RuntimeError("weights are gone")


def returns_a_number() -> int:
    return 3


def needs_arguments(width: int, *, depth: int) -> nn.Module:
    return nn.Linear(width, depth)


def exits_at_once() -> nn.Module:
    os._exit(5)
