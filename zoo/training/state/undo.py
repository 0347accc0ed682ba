"""Going back: the weights to before a sleep, a whole step to before it was attempted."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cortexzoo.zoo.training.policies.base import Trainer
from cortexzoo.zoo.training.state.recovery_point import RecoveryPoint


@dataclass(frozen=True)
class Weights:
    """Copies of everything in a model that a sleep can change: trainable parameters and buffers, by name."""

    parameters: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]

    @classmethod
    def of(cls, model: nn.Module) -> "Weights":
        """As they are now."""
        parameters = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
        return cls(parameters, {n: b.clone() for n, b in model.named_buffers()})

    @torch.no_grad()
    def restore(self, model: nn.Module) -> None:
        """Put them back, bit for bit."""
        now = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        for name, tensor in (*self.parameters.items(), *self.buffers.items()):
            now[name].copy_(tensor)


@dataclass(frozen=True)
class StepBefore:
    """The trainer before a step: with every policy's whole state, so that the step can be repeated from here."""

    point: RecoveryPoint
    refused: int
    states: Mapping[str, Mapping[str, Any]]
    tensors: Mapping[str, Mapping[str, Tensor]]

    @classmethod
    def of(cls, trainer: Trainer) -> "StepBefore":
        """As it stands between two steps, or before anything of a step was computed."""
        return cls(
            RecoveryPoint.of(trainer),
            trainer.refused,
            copy.deepcopy({policy.name: policy.state_dict() for policy in trainer.policies}),
            {policy.name: policy.tensors() for policy in trainer.policies},
        )

    def restore(self, trainer: Trainer) -> None:
        """As if the step had never been attempted."""
        self.point.bring_back(trainer)
        trainer.resume_from(self.point.position, self.point.taken, self.refused, self.point.random_state)
        for policy in trainer.policies:
            if self.states[policy.name] or self.tensors[policy.name]:
                policy.load_state(trainer, self.states[policy.name], self.tensors[policy.name])
