"""What policies have when they are read back, against what was written; and the results of two trainings."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.result import TrainingResult

OF_A_STEP = {
    "rates_by_importance._before", "sleep._before_step", "recovery._bounds", "batch_gate._cause", "finite_gate._cause",
    "adagc._learnt", "samples._measured", "samples.gap", "stability._movement", "update_size._movement",
    "updates._movement", "updates._rate",
}  # fmt: skip
"""What a policy keeps for the rest of a step, or makes again from the rest once it is needed."""
OF_THE_MACHINE = {"seconds", "tokens_per_second", "peak_memory_bytes"}
"""Of a result."""
OWN = "harness_"
"""Begins the names of the harness's own policies, which no checkpoint knows."""
PLAIN = (bool, int, float, str, type(None))


def unlike_policies(written: TrainingLoop, read: TrainingLoop, but: set[str]) -> list[str]:
    """Attributes in which the policies of two trainings differ, by path; those of the policies `but` are left out.

    Compared are tensors, modules, numbers, words, and what consists of them in dataclasses, mappings and sequences;
    of dataclasses the fields that count when two are compared.
    """
    others = {policy.name: policy for policy in read.policies}
    found = []
    for policy in written.policies:
        if policy.name in but or policy.name.startswith(OWN):
            continue
        if policy.name not in others:
            found.append(policy.name)
            continue
        own, other = vars(policy), vars(others[policy.name])
        for name in own | other:
            if f"{policy.name}.{name}" not in OF_A_STEP:
                found += _unlike(f"{policy.name}.{name}", own.get(name), other.get(name))
    return found


def unlike_results(one: TrainingResult, other: TrainingResult) -> list[str]:
    """Names of what differs between the results of two trainings, but for what depends on the machine."""
    names = [field.name for field in fields(one) if field.name not in OF_THE_MACHINE]
    return [found for name in names for found in _unlike(name, getattr(one, name), getattr(other, name))]


def _unlike(path: str, one: Any, other: Any) -> list[str]:
    if isinstance(one, nn.Module) and isinstance(other, nn.Module):
        return _unlike(path, dict(one.state_dict()), dict(other.state_dict()))
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        here, there = (tensor.detach().cpu().nan_to_num() for tensor in (one, other))  # a policy may move it when asked
        alike = one.shape == other.shape and torch.equal(here, there)
        return [] if alike else [path]
    if isinstance(one, PLAIN) or isinstance(other, PLAIN):
        return [] if _same(one, other) else [path]
    if is_dataclass(one) and type(one) is type(other):
        parts = [field.name for field in fields(one) if field.compare]
        return [
            found for name in parts for found in _unlike(f"{path}.{name}", getattr(one, name), getattr(other, name))
        ]
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if set(one) != set(other):
            return [path]
        return [found for key, value in one.items() for found in _unlike(f"{path}.{key}", value, other[key])]
    if isinstance(one, Sequence) and isinstance(other, Sequence):
        if len(one) != len(other):
            return [path]
        pairs = enumerate(zip(one, other, strict=True))
        return [found for number, (a, b) in pairs for found in _unlike(f"{path}[{number}]", a, b)]
    return []  # neither data nor made of them


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    return type(one) is type(other) and bool(one == other)
