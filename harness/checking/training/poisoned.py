"""Numbers that are not finite, in the dreams of a sleep."""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cortexzoo.zoo.models.interface import ModelOutput
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.sleep.policy import Sleep


class PoisonedDream:
    """A forward hook that makes one logit NaN in the training pass of one update."""

    def __init__(self, update: int) -> None:
        self.update = update
        self.passes = 0

    def __call__(self, _model: object, _arguments: object, output: ModelOutput) -> None:  # type: ignore[type-arg]
        if torch.is_grad_enabled() and output.logits.requires_grad:
            self.passes += 1
            if self.passes == self.update:
                with torch.no_grad():
                    output.logits.view(-1)[0] = math.nan


def cannot_sample(trainer: TrainingLoop, sleep: Sleep, poisoned: int) -> None:
    """The logits by which one dream is sampled are NaN."""
    read, noted, current = trainer.model.read, sleep.progress, [0]

    def progress(done: int, total: int) -> None:
        current[0] = done + 1
        noted(done, total)

    def broken(tokens: Tensor, state: Any = None) -> ModelOutput[Any]:
        output = read(tokens, state)
        return replace(output, logits=output.logits * (math.nan if current[0] == poisoned else 1.0))

    sleep.progress, trainer.model.read = progress, broken  # type: ignore[method-assign]
