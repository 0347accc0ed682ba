"""The updates of one sleep: AdamW of its own, behind a finite gate and a clip of its own."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import AdamW

Agree = Callable[[bool], bool]
"""Whether a flag is raised on any process."""


class SleepOptimizer:
    """Takes an update, or refuses it and leaves no trace; counts both.

    The optimiser is fresh, with PyTorch's defaults but for the rate: the sleep leaves training's moments alone. An
    update that is taken leaves no `grad` behind.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], learning_rate: float, clip: float, agree: Agree) -> None:
        self.parameters = list(parameters)
        self.optimizer = AdamW(self.parameters, lr=learning_rate)
        self.clip = clip
        self.agree = agree
        self.taken = 0
        self.refused = 0
        self.losses: list[float] = []
        """Of the updates taken."""

    def update(self, loss: Tensor) -> bool:
        """Descend once; False: loss or gradient norm is not finite on some process, and nothing moved."""
        gradients = self._gradients(loss)
        if gradients is None:
            self.refused += 1
            return False
        self._take(gradients)
        self.taken += 1
        self.losses.append(loss.item())
        return True

    def refuse(self) -> None:
        """For an update without a dream: every process must call this or `update`, and none of them moves."""
        self.agree(True)
        self.refused += 1

    def _gradients(self, loss: Tensor) -> list[Tensor | None] | None:
        """Clipped; None unless loss and norm are finite."""
        if not self._is_finite(loss):
            return None
        gradients = list(torch.autograd.grad(loss, self.parameters, allow_unused=True))
        found = [gradient for gradient in gradients if gradient is not None]
        norm = get_total_norm(found)
        if not self._is_finite(norm):
            return None
        factor = (self.clip / (norm + torch.finfo(norm.dtype).tiny)).clamp(max=1.0)
        return [None if gradient is None else gradient * factor.to(gradient) for gradient in gradients]

    def _take(self, gradients: Sequence[Tensor | None]) -> None:
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _is_finite(self, value: Tensor) -> bool:
        """On every process."""
        return not self.agree(not bool(value.isfinite()))
