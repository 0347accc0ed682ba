"""The values that go through a module: its outputs for each token, and states of any kind, copied and read."""

import copy
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from cortexzoo.harness.checking.modules.errors import UnfitOutput

SIMPLE = (int, float, complex, bool, str, bytes, type(None), torch.dtype, torch.device)


def output_of(result: Any) -> Tensor:
    """The tensor in what a module returned: itself, its `logits`, or its first entry. Raises `UnfitOutput`."""
    if isinstance(result, Mapping):
        result = result.get("logits", next(iter(result.values()), None))
    elif hasattr(result, "logits"):
        result = result.logits
    elif isinstance(result, tuple | list) and result:
        result = output_of(result[0]) if isinstance(result[0], Mapping | tuple | list) else result[0]
    if not isinstance(result, Tensor) or not result.is_floating_point():
        got = f"a tensor of {result.dtype}" if isinstance(result, Tensor) else type(result).__name__
        raise UnfitOutput(
            f"the output must be a floating point tensor, or a tuple or object that begins with one, got {got}"
        )
    return result


def floats_of(result: Any) -> list[Tensor]:
    """Every floating point tensor in what a module returned, the output first."""
    first = output_of(result)
    others = [leaf for leaf in tensors_of(result) if leaf.is_floating_point() and leaf is not first]
    return [first, *others]


def tensors_of(state: Any) -> list[Tensor]:
    """Every tensor in a nest of containers and objects, in a fixed order."""
    return [value for value in _walk(state, set()) if isinstance(value, Tensor)]


def _walk(value: Any, seen: set[int]) -> Iterator[Any]:
    for leaf in tree_leaves(value):
        if isinstance(leaf, (Tensor, *SIMPLE)):
            yield leaf
        elif id(leaf) not in seen and hasattr(leaf, "__dict__"):
            seen.add(id(leaf))
            for part in vars(leaf).values():
                yield from _walk(part, seen)


def bytes_kept(model: nn.Module) -> int:
    """Of all tensors that a module's attributes reach, in lists and objects too; a queue of a maximum length has none.

    Parameters, buffers and submodules count as well: what matters is whether the sum grows.
    """
    storages: dict[int, int] = {}
    for part in model.modules():
        for value in vars(part).values():
            for tensor in tensors_of(value) if not _is_bounded(value) else ():
                storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return sum(storages.values())


def _is_bounded(value: Any) -> bool:
    return isinstance(value, deque) and value.maxlen is not None


def duplicate(state: Any) -> Any:
    """A state that the original shares no tensor and no container with; graphs are kept."""
    return tree_map(_copied, state)


def _copied(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return leaf.clone()
    if isinstance(leaf, (*SIMPLE, type)) or callable(leaf):
        return leaf
    if not hasattr(leaf, "__dict__"):
        return copy.deepcopy(leaf)
    twin = copy.copy(leaf)
    for name, part in vars(leaf).items():
        object.__setattr__(twin, name, duplicate(part))
    return twin


def grows_in_place(before: Any, after: Any) -> bool:
    """Whether a call gave back the very container or object that it was given: its contents are expected to change."""
    if isinstance(before, (Tensor, *SIMPLE)):
        return False
    if before is after and not isinstance(before, tuple):
        return True
    if is_dataclass(before) and not isinstance(before, type):
        return before is after
    if isinstance(before, tuple | list) and isinstance(after, tuple | list):
        return any(grows_in_place(one, other) for one, other in zip(before, after, strict=False))
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return any(grows_in_place(before[key], after[key]) for key in before if key in after)
    return not isinstance(before, tuple | list | Mapping)
