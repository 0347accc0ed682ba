"""A spec as it is written: a tree of values with their places."""

from dataclasses import dataclass
from typing import Any

from cortexzoo.specs.loading.problems import Place, shortened

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a spec file: a mapping, a list or a scalar, and where it stands."""

    content: "dict[str, Node] | list[Node] | Scalar"
    place: Place | None
    """None for a value that was filled in from a default."""
    key_place: Place | None = None
    written: str | None = None
    """The text of a plain scalar, as it was before it became a number, a truth value or null."""
    whole: bool = False
    """A mapping that replaces what it overrides instead of being merged into it."""
    incomplete: bool = False
    """What it extends could not be read, so missing keys are not reported."""

    def entries(self) -> "dict[str, Node]":
        """The entries of a mapping; of anything else: none."""
        return self.content if isinstance(self.content, dict) else {}

    def is_mapping(self) -> bool:
        return isinstance(self.content, dict)

    def plain(self) -> Any:
        """The value without places, as JSON data."""
        if isinstance(self.content, dict):
            return {key: node.plain() for key, node in self.content.items()}
        if isinstance(self.content, list):
            return [node.plain() for node in self.content]
        return self.content

    def describe(self) -> str:
        """The value for the end of a message: `got …`."""
        if isinstance(self.content, dict):
            return "a mapping"
        if isinstance(self.content, list):
            return "a list"
        if isinstance(self.content, str):
            return repr(shortened(self.content))
        return shortened(self.written) if self.written else "null"
