"""Making the paths in a spec independent of where it is used: those of data, and those of other specs."""

import glob
import os
from dataclasses import replace
from pathlib import Path

from cortexzoo.specs.base import FilePath, FilePaths, SpecReferences
from cortexzoo.specs.loading.nodes import Node
from cortexzoo.specs.loading.shipped import is_path
from cortexzoo.specs.loading.slots import Slot


def with_absolute_paths(node: Node, slot: Slot) -> Node:
    """`node` with each relative path made absolute: relative to the file, or for a `--set` the folder, that has it."""
    holds_paths = any(isinstance(mark, FilePaths) for mark in slot.metadata)
    if any(isinstance(mark, FilePath) for mark in slot.metadata):
        return _absolute(node, pattern=False)
    if any(isinstance(mark, SpecReferences) for mark in slot.metadata):
        return _absolute_references(node)
    if isinstance(node.content, list):
        item = slot.item()
        if holds_paths:
            return replace(node, content=[_absolute(entry) for entry in node.content])
        return replace(node, content=[with_absolute_paths(entry, item) for entry in node.content]) if item else node
    if not node.is_mapping():
        return node
    entries = dict(node.entries())
    for key, entry in entries.items():
        inner = slot.enter(key, node)
        if inner:
            entries[key] = with_absolute_paths(entry, inner)
    return replace(node, content=entries)


def _absolute_references(node: Node) -> Node:
    if isinstance(node.content, list):
        return replace(node, content=[_absolute_references(entry) for entry in node.content])
    if not isinstance(node.content, str) or node.place is None or not is_path(node.content):
        return node
    return replace(node, content=os.path.join(node.place.text.folder, node.content))


def _absolute(node: Node, pattern: bool = True) -> Node:
    if not isinstance(node.content, str) or os.path.isabs(node.content) or node.place is None:
        return node
    # The folder is literal even if its name contains `*` or `[`; only what the user wrote is a pattern.
    folder = Path(glob.escape(str(node.place.text.folder)) if pattern else node.place.text.folder)
    return replace(node, content=str(folder / node.content))
