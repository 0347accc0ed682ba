"""Checks a tree against its spec type, and reports mistakes in the user's terms, with their places."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cortexzoo.specs.base import NamedSpec
from cortexzoo.specs.kinds import PARTS, Kind, adapter, spec_type
from cortexzoo.specs.loading.nodes import Node
from cortexzoo.specs.loading.problems import Place, Problems, did_you_mean, nearest, shortened
from cortexzoo.specs.loading.slots import Slot
from cortexzoo.specs.renamed import new_name

MOST_SUGGESTED = 3
"""More fields of one name than this are no help."""
_COMPARISONS = {
    "greater_than": ("gt", ">"),
    "greater_than_equal": ("ge", ">="),
    "less_than": ("lt", "<"),
    "less_than_equal": ("le", "<="),
    "multiple_of": ("multiple_of", "a multiple of"),
}
_WANTED = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "finite_number": "a finite number",
}


def validate(root: Node, kind: Kind, problems: Problems) -> NamedSpec | None:
    """The spec that a resolved tree describes, or None after adding every mistake to `problems`."""
    try:
        # JSON, not Python values: the specs are strict, and only JSON mode lets a list become a tuple.
        spec: NamedSpec = adapter(kind).validate_json(json.dumps(root.plain()))
    except ValidationError as error:
        for details in error.errors(include_url=False)[:MOST_DETAILS]:
            _report(_Spot.find(details["loc"], root, kind), details, Slot.of_type(spec_type(kind)), problems)
        return None
    return spec


MOST_DETAILS = 200
"""Mistakes that are worded; of so many a user reads the first few anyway."""


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where pydantic found a mistake, in the user's terms."""

    path: tuple[str, ...]
    slot: Slot | None
    node: Node | None
    """None: a key is missing here."""
    around: tuple[Node, ...]
    """The mappings and lists around it, from the outside in."""
    around_slot: Slot | None
    is_key: bool = False

    @classmethod
    def find(cls, loc: Sequence[int | str], root: Node, kind: Kind) -> "_Spot":
        spot = cls((), Slot.of_type(spec_type(kind)), root, (), None)
        steps = list(loc)
        while steps:
            step = steps.pop(0)
            # pydantic puts the tag of a tagged union into the location; the user's path has no such step. One step
            # only: the next may be a field of the same name.
            if spot.slot and spot.slot.tag_key and step in spot.slot.classes():
                if not steps:
                    break
                step = steps.pop(0)
            if step == "[key]":
                return cls(spot.path, spot.slot, spot.node, spot.around, spot.around_slot, is_key=True)
            spot = spot.enter(step)
        return spot

    def enter(self, step: int | str) -> "_Spot":
        node = self.node
        around = (*self.around, node) if node else self.around
        if isinstance(step, int):
            item = node.content[step] if node and isinstance(node.content, list) else None
            return _Spot((*self.path, str(step)), self.slot.item() if self.slot else None, item, around, self.slot)
        slot = self.slot.enter(step, node) if self.slot else None
        return _Spot((*self.path, step), slot, node.entries().get(step) if node else None, around, self.slot)

    @property
    def name(self) -> str:
        return ".".join(shortened(part) for part in self.path)

    def place(self) -> Place:
        """Of the value; of a missing value, the mapping that lacks it."""
        for node in (self.node, *reversed(self.around)):
            if node and node.place:
                return node.place
        raise AssertionError("the root of a tree is always written somewhere")

    def key_place(self) -> Place:
        return self.node.key_place if self.node and self.node.key_place else self.place()

    def is_incomplete(self) -> bool:
        return any(node.incomplete for node in (*self.around, self.node) if node)


def _report(spot: _Spot, details: ErrorDetails, root: Slot, problems: Problems) -> None:
    error, context = details["type"], details.get("ctx", {})
    got = f", got {spot.node.describe()}" if spot.node else ""
    wanted = _wanted(spot, error, context)
    if spot.is_key or error == "extra_forbidden":
        problems.add(spot.key_place(), _unknown(spot, root))
    elif error == "missing":
        if not spot.is_incomplete():
            problems.add(spot.place(), f"{spot.name} is missing")
    elif error in ("union_tag_not_found", "union_tag_invalid"):
        _report_tag(spot, problems)
    elif error == "literal_error" and spot.slot and spot.node:
        choices = spot.slot.choices()
        hint = nearest(str(spot.node.content), choices)
        problems.add(spot.place(), f"{spot.name} must be {_listed(choices)}{got}{hint}")
    elif error == "too_short":
        # pydantic counts valid entries only; the mistakes in the others are reported one by one.
        least, content = context["min_length"], spot.node.content if spot.node else None
        held = len(content) if isinstance(content, dict | list) else 0
        entries = "entry" if least == 1 else "entries"
        if held < least:
            problems.add(spot.place(), f"{spot.name} must have at least {least} {entries}, got {held or 'none'}")
    elif error == "value_error":
        _report_rule(spot, str(context.get("error", details["msg"])), problems)
    elif wanted:
        problems.add(spot.place(), f"{spot.name} must be {wanted}{got}")
    else:
        problems.add(spot.place(), f"{spot.name}: {details['msg']}{got}")


def _unknown(spot: _Spot, root: Slot) -> str:
    """With the new name of a renamed field, the path of a field of this name elsewhere, or the nearest name here."""
    if renamed := new_name(spot.name):
        return f"{spot.name} is now {renamed}"
    elsewhere = [path for path in _paths(root, spot.around[0], ()) if path[-1] == spot.path[-1] and path != spot.path]
    if 0 < len(elsewhere) <= MOST_SUGGESTED:
        return f"{spot.name} is unknown; did you mean {' or '.join('.'.join(path) for path in elsewhere)}?"
    keys = spot.around_slot.keys(spot.around[-1]) if spot.around_slot else ()
    return f"{spot.name} is unknown{did_you_mean(spot.path[-1], keys)}"


def _paths(slot: Slot, node: Node | None, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The paths of all fields at and below a slot, under the tags that are chosen in `node`."""
    for key in slot.keys(node):
        yield (*path, key)
        if (inner := slot.enter(key, node)) is not None:
            yield from _paths(inner, node.entries().get(key) if node else None, (*path, key))


def _wanted(spot: _Spot, error: str, context: dict[str, Any]) -> str:
    if error in _COMPARISONS:
        key, sign = _COMPARISONS[error]
        return f"{sign} {context[key]:g}"
    if error == "string_pattern_mismatch" and spot.path[-1:] == ("name",):
        return "lower-case letters, digits, '-' and '.', beginning with a letter or digit"
    if error == "string_too_long":
        return f"at most {context['max_length']} characters long"
    wanted = _WANTED.get(error, "")
    if wanted == "a mapping" and len(spot.path) == 1 and spot.path[0] in PARTS:
        return "a name, a path ending in .yaml, or a mapping"
    return f"{wanted} or null" if wanted and spot.slot and spot.slot.takes_null() else wanted


def _report_tag(spot: _Spot, problems: Problems) -> None:
    assert spot.slot is not None
    key = spot.slot.tag_key or ""
    tags = list(spot.slot.classes())
    if spot.node and not spot.node.is_mapping():
        return problems.add(spot.place(), f"{spot.name} must be a mapping, got {spot.node.describe()}")
    name = ".".join([*spot.path, key])
    tag = spot.node.entries().get(key) if spot.node else None
    if tag is None or tag.place is None:
        if not spot.is_incomplete():
            problems.add(spot.place(), f"{name} is missing; write one of: {', '.join(tags)}")
        return None
    wanted = f"{name} must be {_listed(tags)}, got {tag.describe()}"
    return problems.add(tag.place, wanted + nearest(str(tag.content), tags))


def _report_rule(spot: _Spot, message: str, problems: Problems) -> None:
    """A rule over several fields: its message begins with the path of the field that it is about."""
    subject, _, rest = message.partition(" ")
    target, keys = spot, subject.split(".")
    while keys:
        # A key of a provenance block is a dotted path itself.
        whole = ".".join(keys)
        if target.node and whole in target.node.entries():
            target, keys = target.enter(whole), []
        else:
            target = target.enter(keys.pop(0))
    if target.slot is None:
        return problems.add(spot.place(), f"{spot.name}: {message}" if spot.path else message)
    return problems.add(target.place(), f"{target.name} {rest}")


def _listed(choices: Sequence[str]) -> str:
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"
