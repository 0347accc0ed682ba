"""What changed from one spec to another: the values, by dotted path."""

from collections.abc import Mapping
from typing import Any

from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.base import without_documentation


def differences(old: ExperimentSpec, new: ExperimentSpec) -> dict[str, tuple[Any, Any]]:
    """Dotted path -> (old value, new value) of all that changes behaviour; a value that one lacks is None."""
    before, after = (flattened(without_documentation(spec.model_dump(mode="json"))) for spec in (old, new))
    return {
        key: (before.get(key), after.get(key))
        for key in {**before, **after}
        if key not in before or key not in after or before[key] != after[key]
    }


def in_words(changes: Mapping[str, tuple[Any, Any]]) -> str:
    """`recipe.steps (500, now 300), seed (0, now 1)`."""
    return ", ".join(f"{key} ({old}, now {new})" for key, (old, new) in changes.items())


def flattened(node: Any, path: str = "") -> dict[str, Any]:
    """The leaves of nested mappings by dotted path; a list is a leaf."""
    if not isinstance(node, Mapping):
        return {path: node}
    leaves: dict[str, Any] = {}
    for name, entry in node.items():
        leaves |= flattened(entry, f"{path}.{name}" if path else name)
    return leaves
