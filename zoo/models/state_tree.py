"""A nest of tensors and numbers as named tensors, and back: each name is the path, from which the nest follows.

`.key` is a dictionary's entry, `[i]` a list's and `(i)` a tuple's; the end gives the type of what is no tensor.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

ALLOWED = "tensors and numbers in dictionaries with words as keys, lists and tuples"
ENDS: dict[type, str] = {int: "#int", float: "#float", bool: "#bool", type(None): "#none"}
EMPTY: dict[type, str] = {dict: "#dict", list: "#list", tuple: "#tuple"}
TYPES: dict[str, type] = {end: kind for kind, end in {**ENDS, **EMPTY}.items()}
STEP = re.compile(r"\.(?P<key>\w+)|\[(?P<list>\d+)\]|\((?P<tuple>\d+)\)")


def named_tensors(tree: Any) -> dict[str, Tensor]:
    """Every leaf by its path. Raises `ValueError` for a leaf or a key of another type."""
    return dict(_leaves(tree, "state"))


def tree_of(tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `named_tensors`. Raises `ValueError` for names that it does not give."""
    built = [_split(name, tensor) for name, tensor in tensors.items()]
    if not built:
        raise ValueError("memory state is empty")
    return _nested([(steps, value) for steps, value in built])


def _leaves(tree: Any, path: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(tree, Tensor):
        yield path, tree
    elif type(tree) in EMPTY and not tree:
        yield f"{path}{EMPTY[type(tree)]}", torch.zeros(0)
    elif type(tree) is dict:
        for key, value in tree.items():
            if not isinstance(key, str) or not re.fullmatch(r"\w+", key):
                raise ValueError(f"{ALLOWED}, got the key {key!r}")
            yield from _leaves(value, f"{path}.{key}")
    elif type(tree) in (list, tuple):
        for index, value in enumerate(tree):
            yield from _leaves(value, f"{path}[{index}]" if type(tree) is list else f"{path}({index})")
    elif type(tree) in ENDS:
        dtype = torch.float64 if type(tree) is float else torch.int64
        yield f"{path}{ENDS[type(tree)]}", torch.tensor(tree or 0, dtype=dtype)
    else:
        raise ValueError(f"{ALLOWED}, got {type(tree).__name__}")


Steps = list[tuple[str, str]]


def _split(name: str, tensor: Tensor) -> tuple[Steps, Any]:
    path, mark, end = name.removeprefix("state").partition("#")
    found = list(STEP.finditer(path))
    kind = TYPES.get(mark + end)
    if not name.startswith("state") or "".join(step[0] for step in found) != path or (mark and kind is None):
        raise ValueError(f"memory state contains {name}, which is no path")
    steps = [next((kind, value) for kind, value in step.groupdict().items() if value is not None) for step in found]
    if kind is None:
        return steps, tensor
    return steps, None if kind is type(None) else kind() if kind in EMPTY else kind(tensor.item())


def _nested(leaves: list[tuple[Steps, Any]]) -> Any:
    if leaves[0][0] == []:
        if len(leaves) > 1:
            raise ValueError("memory state contains contradictory paths")
        return leaves[0][1]
    kind = leaves[0][0][0][0]
    inner: dict[str, list[tuple[Steps, Any]]] = {}
    for steps, value in leaves:
        if not steps or steps[0][0] != kind:
            raise ValueError("memory state contains contradictory paths")
        inner.setdefault(steps[0][1], []).append((steps[1:], value))
    if kind == "key":
        return {key: _nested(below) for key, below in inner.items()}
    if set(inner) != {str(index) for index in range(len(inner))}:
        raise ValueError("memory state lacks an entry of a list")
    entries = [_nested(inner[str(index)]) for index in range(len(inner))]
    return entries if kind == "list" else tuple(entries)
