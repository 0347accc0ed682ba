"""What other packages add, by name: nothing of it is imported here, nor of ours, so that every command can ask."""

from functools import cache
from typing import Any, Literal

Group = Literal["variants", "tasks", "properties", "trackers", "clipping"]
PREFIX = "cortexzoo."


@cache
def entry_points(group: Group) -> dict[str, Any]:
    """The entry points of `cortexzoo.<group>` by name, not loaded."""
    return {entry.name: entry for entry in installed() if entry.group == PREFIX + group}


@cache
def installed() -> tuple[Any, ...]:
    """All of them."""
    from importlib import metadata

    found: dict[tuple[str, str], Any] = {}
    for distribution in metadata.distributions():
        if PREFIX in (distribution.read_text("entry_points.txt") or ""):  # parsing all of them would take longer
            for entry in distribution.entry_points:
                found.setdefault((entry.group, entry.name), entry)
    return tuple(found.values())
