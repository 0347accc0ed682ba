"""Laying one spec's values over another's, and filling in the tags that defaults decide."""

from collections.abc import Iterator
from dataclasses import replace

from cortexzoo.specs.loading.nodes import Node
from cortexzoo.specs.loading.slots import Slot

TAG_KEYS = ("kind", "family")


def merge(parent: Node, child: Node) -> Node:
    """`child` over `parent`: mappings entry by entry, everything else as a whole.

    A mapping with another tag replaces the parent's, so that the keys of one kind never leak into another. A
    provenance entry of the parent stays only where its value does. A merged mapping keeps the place of
    the parent's.
    """
    if not _merges(parent, child):
        return child
    entries = dict(parent.entries())
    for key, node in child.entries().items():
        entries[key] = merge(entries[key], node) if key in entries else node
    if "provenance" in parent.entries():
        entries["provenance"] = _merged_provenance(parent, child)
    return replace(parent, content=entries, incomplete=parent.incomplete or child.incomplete)


def _merges(parent: Node | None, child: Node) -> bool:
    if parent is None or child.whole or not (parent.is_mapping() and child.is_mapping()):
        return False
    for key in TAG_KEYS:
        old, new = parent.entries().get(key), child.entries().get(key)
        if old and new and old.content != new.content:
            return False
    return True


def _merged_provenance(parent: Node, child: Node) -> Node:
    inherited = parent.entries()["provenance"]
    own = child.entries().get("provenance", replace(inherited, content={}))
    if not (inherited.is_mapping() and own.is_mapping()):
        return own
    entries: dict[str, Node] = {}
    # The shorter path first, so that an entry for a mapping gives way to an entry for a value in it.
    for path, entry in sorted(inherited.entries().items(), key=lambda item: item[0].count(".")):
        for kept in _still_vouched(path.split("."), (), parent, child):
            entries[kept] = entry
    return replace(own, content={**entries, **own.entries()})


def _still_vouched(ahead: list[str], passed: tuple[str, ...], old: Node | None, new: Node | None) -> Iterator[str]:
    """The paths at or below a vouched path (`passed` + `ahead`) whose values `new` leaves as they were in `old`."""
    if new is None:
        yield ".".join([*passed, *ahead])
    elif old is not None and _merges(old, new):
        for key in ahead[:1] or old.entries():
            yield from _still_vouched(ahead[1:], (*passed, key), old.entries().get(key), new.entries().get(key))


def with_default_tags(node: Node, slot: Slot) -> Node:
    """`node` with the tag of the field's default in each tagged mapping without one."""
    if isinstance(node.content, list):
        item = slot.item()
        return replace(node, content=[with_default_tags(entry, item) for entry in node.content]) if item else node
    if not node.is_mapping():
        return node
    entries = dict(node.entries())
    tag = slot.default_tag()
    if tag is not None and slot.tag_key is not None and slot.tag_key not in entries:
        entries = {slot.tag_key: Node(tag, None), **entries}
    node = replace(node, content=entries)
    for key, entry in entries.items():
        inner = slot.enter(key, node)
        if inner:
            entries[key] = with_default_tags(entry, inner)
    return node
