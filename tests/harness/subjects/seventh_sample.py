"""What a seventh sample of 73 defects and 48 healthy modules had that was refused or accused in vain, with siblings."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tests.harness.subjects.factories import by_name
from tests.harness.subjects.seventh_siblings import SIBLINGS, UNTRACED, Means


class Fours(Means):
    """The means of four at a time; it raises where four does not divide the length."""

    def mix(self, x: Tensor) -> Tensor:
        rows, length, width = x.shape
        return x.view(rows, length // 4, 4, width).cumsum(2).view(rows, length, width)


class Shrunk(Means):
    """The gradient of the embedding is a tenth, as GLM-130B trains; `lerp` and a difference do the same."""

    def shrunk(self, x: Tensor) -> Tensor:
        return 0.1 * x + 0.9 * x.detach()

    def forward(self, tokens: Tensor) -> Any:
        x = self.shrunk(self.embedding(tokens))
        return self.out(x + self.mix(torch.tanh(self.inner(x))))


class ShrunkByLerp(Shrunk):
    def shrunk(self, x: Tensor) -> Tensor:
        return torch.lerp(x.detach(), x, 0.1)


class ShrunkByDifference(Shrunk):
    def shrunk(self, x: Tensor) -> Tensor:
        return x.detach() + 0.1 * (x - x.detach())


class CutOffHalf(Shrunk):
    """What is detached is another value: half of the gradient is lost by accident."""

    def shrunk(self, x: Tensor) -> Tensor:
        y = torch.tanh(x)
        return 0.5 * y + 0.5 * y.detach() * x


class Reverse(torch.autograd.Function):
    """The value itself, with its gradient reversed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return -0.3 * gradient


class Rider(torch.autograd.Function):
    """The value itself; a further loss is added in the backward pass, as DeepSeek-V2 balances experts."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, loss: Tensor) -> Tensor:
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return gradient, torch.ones((), dtype=gradient.dtype)


class Doubled(torch.autograd.Function):
    """Twice the value; its gradient is that of the value itself."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return gradient


class Reversed(Means):
    def mix(self, x: Tensor) -> Tensor:
        return super().mix(Reverse.apply(x))


class Ridden(Means):
    def mix(self, x: Tensor) -> Tensor:
        loss = x.softmax(-1).mean((0, 1)).square().sum()
        return super().mix(Rider.apply(x, loss) if self.training else x)


class WrongBesideReversed(Reversed):
    """A wrong gradient behind one that is reversed on purpose."""

    def mix(self, x: Tensor) -> Tensor:
        return super().mix(Doubled.apply(x))


SEVENTH: dict[str, tuple[Callable[[], nn.Module], str]] = {
    **SIBLINGS,
    "fours": (Fours, "any_shape_works"),
    "cut_off_half": (CutOffHalf, "every_parameter_learns"),
    "wrong_beside_reversed": (WrongBesideReversed, "every_parameter_learns"),
}
"""With the property that is about each."""
SPARED: dict[str, Callable[[], nn.Module]] = {
    **UNTRACED,
    "shrunk": Shrunk,
    "shrunk_by_lerp": ShrunkByLerp,
    "shrunk_by_difference": ShrunkByDifference,
    "reversed": Reversed,
    "ridden": Ridden,
}
"""Healthy."""

__getattr__ = by_name(SPARED, SEVENTH)
