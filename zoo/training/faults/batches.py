"""Faults in the data, and in the random numbers that a step draws."""

import torch
from torch import Tensor

from cortexzoo.specs.fault import BadBatch, RandomReset, RepeatedBatch
from cortexzoo.zoo.training.faults.base import InjectedFault
from cortexzoo.zoo.training.policies.base import Step, Trainer


class BrokenBatch(InjectedFault[BadBatch]):
    """One batch of random bytes, of zeros, of no rows, or with a number in it that is no byte of the vocabulary."""

    def batch_ready(self, trainer: Trainer, step: Step) -> None:
        super().batch_ready(trainer, step)
        if not self.here:
            return
        assert step.tokens is not None
        match self.spec.content:
            case "random":
                generator = torch.Generator().manual_seed(step.number)
                noise = torch.randint(trainer.model.vocab_size, step.tokens.shape, generator=generator)
                step.tokens = noise.to(step.tokens)
            case "padding":
                step.tokens = torch.zeros_like(step.tokens)
            case "empty":
                step.tokens = step.tokens[:, :0]
            case "out_of_vocabulary":
                step.tokens = step.tokens.clone()
                step.tokens[0, 0, 0] = trainer.model.vocab_size


class StuckReader(InjectedFault[RepeatedBatch]):
    """Serves the batch of its step again in the steps that follow."""

    def __init__(self, label: str, spec: RepeatedBatch) -> None:
        super().__init__(label, spec)
        self._served: tuple[Tensor | None, Tensor | None] | None = None
        """Tokens, and which of them are scored."""
        self._left = spec.times

    def batch_ready(self, trainer: Trainer, step: Step) -> None:
        super().batch_ready(trainer, step)
        if self.here:
            self._served = step.tokens, step.scored
        elif self._served is not None and self._left:
            step.tokens, step.scored = self._served
            self._left -= 1


class GeneratorsBeginAnew(InjectedFault[RandomReset]):
    """Dropout draws again what it drew at the first step of this process."""

    def batch_ready(self, trainer: Trainer, step: Step) -> None:
        super().batch_ready(trainer, step)
        if self.here:
            torch.manual_seed(torch.initial_seed())
