"""Forward calls of a training as they are seen from outside: their mode, and the tokens that they read."""

from typing import Any

import torch
from torch import Tensor, nn

from cortexzoo.harness.checking.training.roles import LENGTH
from cortexzoo.zoo.data.text import TextData


class Passes:
    """A hook on the model: in which mode each forward call is made, and on which tokens."""

    def __init__(self) -> None:
        self.seen: list[tuple[Tensor, bool, bool]] = []
        """Tokens, whether any module was in training mode, whether gradients were on."""

    def __call__(self, model: nn.Module, arguments: tuple[Any, ...]) -> None:
        training = any(module.training for module in model.modules())
        self.seen.append((arguments[0].detach().cpu().clone(), training, torch.is_grad_enabled()))


def wrong_passes(passes: Passes, data: TextData, some: int | None) -> list[str]:
    """What the calls show: each part is seen in its own mode, and all of the validation part."""
    wrong = []
    validation, test = set(data.validation[:].tolist()), set(data.test[:].tolist())
    seen: list[bytes] = []
    for tokens, training, gradients in passes.seen:
        own = set(tokens.flatten().tolist())
        if own & test:
            wrong.append("the test part is seen in training")
        if own & validation and (training or gradients):
            wrong.append("the validation part is seen in training mode" if training else "with gradients")
        if own & validation and len(tokens) > 0:
            seen += [row.numpy().tobytes() for row in tokens]
        if not training and own - validation:
            wrong.append("what is measured is not held out")
    windows = (len(data.validation) - 1) // LENGTH
    count = windows if some is None else min(some, windows)
    if len(set(seen)) < count:
        wrong.append(f"{len(set(seen))} of {count} validation windows are measured")
    return wrong
