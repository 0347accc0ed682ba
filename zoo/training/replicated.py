"""The network of one run on its processes, and the kind where each has all weights."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

from torch import nn
from torch.nn.utils import get_total_norm

from cortexzoo.zoo.models.interface import MemoryLanguageModel
from cortexzoo.zoo.training.objectives.base import Objective, TrainingPass
from cortexzoo.zoo.training.ranks import Ranks

Model = MemoryLanguageModel[Any]


class Parallel(ABC):
    """One training pass, spread over the processes."""

    network: nn.Module
    """What a training step calls."""
    optimized: Model
    """The model whose parameters the optimiser steps."""
    trainable: list[nn.Parameter]
    """What guards see: parameters that take gradients, in the model's order."""

    @abstractmethod
    def accumulating(self, last: bool) -> AbstractContextManager[object]:
        """Around the passes of a micro-batch; gradients are shared at the last alone."""

    @abstractmethod
    def gradient_norm(self) -> float:
        """Of the gradients that the optimiser will see. Every process must call it."""

    @abstractmethod
    def spread(self) -> None:
        """Before a pass: what policies changed reaches every process's share."""

    @abstractmethod
    def gather(self) -> None:
        """After a step: the model has whole weights. Every process must call it."""


class Replicated(Parallel):
    """All weights on every process: one process, or DDP through accelerate."""

    def __init__(self, model: Model, objective: Objective, ranks: Ranks) -> None:
        self.ranks, self.optimized = ranks, model
        self.network = ranks.accelerator.prepare(TrainingPass(model, objective))
        self.trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def accumulating(self, last: bool) -> AbstractContextManager[object]:
        return (
            nullcontext()
            if last
            else cast(AbstractContextManager[object], self.ranks.accelerator.no_sync(self.network))
        )

    def gradient_norm(self) -> float:
        """A process whose own gradients are damaged raises the mean, so that guards agree."""
        own = get_total_norm([p.grad for p in self.trainable if p.grad is not None]).item()
        return self.ranks.mean({"norm": own})["norm"]

    def spread(self) -> None:
        """Nothing: the weights are whole everywhere."""

    def gather(self) -> None:
        """Nothing: the weights are whole everywhere."""
