"""The state of a training run at one moment, kept in memory, to return to."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cortexzoo.zoo.models.interface import MemoryState
from cortexzoo.zoo.training.policies.base import Policy, Trainer
from cortexzoo.zoo.training.state import moments, snapshot
from cortexzoo.zoo.training.state.movement import norms

OUTGROWN = 1000.0


@dataclass(frozen=True)
class RecoveryPoint:
    """Copies of all that a step changes. The memory is a value and needs none."""

    position: int
    taken: int
    weights: Mapping[str, Tensor]
    moments: Mapping[str, Tensor]
    memory: MemoryState
    random_state: Mapping[str, Tensor]
    policies: Mapping[str, Any]
    """The recoverable values of the policies that have any."""
    policy_tensors: Mapping[str, Tensor]
    """Their recoverable tensors, as `<policy>/<name>`."""

    @classmethod
    def of(cls, trainer: Trainer) -> "RecoveryPoint":
        """The trainer as it stands between two steps."""
        return cls(
            trainer.position,
            trainer.taken,
            _copies(trainer.model.state_dict()),
            _copies(moments.optimizer_tensors(trainer)),
            trainer.memory,
            trainer.random_state(),
            {policy.name: recoverable_values(policy) for policy in trainer.policies if policy.recoverable},
            {
                f"{policy.name}/{name}": tensor
                for policy in trainer.policies
                for name, tensor in policy.tensors().items()
                if _is_recoverable(policy, name)
            },
        )

    def restore(self, trainer: Trainer) -> None:
        """Restore everything but the place in the data, and call `rolled_back` of every policy."""
        self.bring_back(trainer)
        for policy in trainer.policies:
            if policy.name in self.policies:
                recover(policy, trainer, self.policies[policy.name], self._tensors_of(policy.name))
            policy.rolled_back(trainer)

    def bring_back(self, trainer: Trainer) -> None:
        """As `restore`, without calling any policy."""
        trainer.model.load_state_dict(dict(self.weights))
        moments.set_optimizer(trainer, _copies(self.moments))
        trainer.memory, trainer.taken = self.memory, self.taken
        snapshot.set_random_state(trainer.device, self.random_state)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by `<part>/<name>`, for a checkpoint."""
        parts = {
            "weights": self.weights,
            "moments": self.moments,
            "memory": self.memory.tensors(),
            "random_state": self.random_state,
            "policies": self.policy_tensors,
        }
        return {f"{part}/{name}": tensor for part, named in parts.items() for name, tensor in named.items()}

    def description(self) -> dict[str, Any]:
        """The rest, as JSON values."""
        return {"position": self.position, "taken": self.taken, "policies": self.policies}

    @classmethod
    def from_parts(
        cls, trainer: Trainer, description: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> "RecoveryPoint":
        """The point that `description` and `tensors` describe."""
        parts: dict[str, dict[str, Tensor]] = {
            "weights": {},
            "moments": {},
            "memory": {},
            "random_state": {},
            "policies": {},
        }
        for key, tensor in tensors.items():
            part, name = key.split("/", 1)
            parts[part][name] = tensor if part in ("random_state", "policies") else tensor.to(trainer.device)
        memory = type(trainer.model.initial_state(1)).from_tensors(parts["memory"])
        return cls(
            description["position"],
            description["taken"],
            parts["weights"],
            parts["moments"],
            memory,
            parts["random_state"],
            description["policies"],
            parts["policies"],
        )

    def _tensors_of(self, policy: str) -> dict[str, Tensor]:
        prefix = f"{policy}/"
        return {n.removeprefix(prefix): t for n, t in self.policy_tensors.items() if n.startswith(prefix)}


def recoverable_values(policy: Policy) -> dict[str, Any]:
    """A copy of the values of a policy that return with the weights."""
    return copy.deepcopy({key: value for key, value in policy.state_dict().items() if key in policy.recoverable})


def recover(policy: Policy, trainer: Trainer, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Give a policy back what was recoverable of it; the rest of its state stays."""
    others = {name: tensor for name, tensor in policy.tensors().items() if not _is_recoverable(policy, name)}
    policy.load_state(trainer, {**policy.state_dict(), **copy.deepcopy(dict(values))}, {**others, **tensors})


def _is_recoverable(policy: Policy, tensor: str) -> bool:
    return tensor.partition("/")[0] in policy.recoverable


class Bounds:
    """How large the numbers of a model's weights can be, from what they were.

    `OUTGROWN` times the largest magnitude of each tensor, or of 1 where that is more: steps of Adam move a weight by a
    few learning rates each. What damaged memory leaves in one number may be finite and change few outputs.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._of = {name: OUTGROWN * max(1.0, _largest(weight)) for name, weight in _floats(weights).items()}

    def flaw_in(self, weights: Mapping[str, Tensor]) -> str | None:
        """In words the first tensor with a finite number above its bound; None: there is none."""
        floats = _floats(weights)
        if not floats:
            return None
        # No number is larger than its tensor's norm, which is quicker to have.
        for name, norm in zip(floats, norms(list(floats.values())).tolist(), strict=True):
            if norm > self._of[name] and math.inf > _largest(floats[name]) > self._of[name]:
                return f"weight {name} has a number far larger than any before"
        return None


def _floats(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: w.detach() for name, w in weights.items() if w.is_floating_point() and w.numel()}


def _largest(weight: Tensor) -> float:
    return float(weight.abs().max())


def first_non_finite(trainer: Trainer) -> str | None:
    """Name of a weight, moment or memory tensor with NaN or infinity; None: there is none."""
    named = {
        **{f"weight {name}": tensor for name, tensor in trainer.model.state_dict().items()},
        **{f"moment {name}": tensor for name, tensor in moments.optimizer_tensors(trainer).items()},
        **{f"memory {name}": tensor for name, tensor in trainer.memory.tensors().items()},
    }
    floats = {name: tensor for name, tensor in named.items() if tensor.is_floating_point() and tensor.numel()}
    if not floats:
        return None
    finite = torch.stack([tensor.isfinite().all().to(trainer.device) for tensor in floats.values()]).tolist()
    return next((name for name, fine in zip(floats, finite, strict=True) if not fine), None)


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}
