"""Where each value of a resolved spec comes from: an override, a line of a file, or a default with its source."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_origin

from cortexzoo.specs.base import NamedSpec, Spec
from cortexzoo.specs.loading.nodes import Node
from cortexzoo.specs.loading.problems import Place
from cortexzoo.specs.loading.slots import Slot, field_slots
from cortexzoo.specs.provenance import Source

_DOCUMENTATION = ("description", "provenance", "reason")


@dataclass(frozen=True, slots=True)
class ValueOrigin:
    """One value of a resolved spec and where it comes from."""

    value: Any
    """As JSON: text, a number, a truth value, null, or a list of these and of mappings."""
    place: Place | None
    """None: it is a default."""
    source: Source | None
    """What vouches for it: the `provenance:` entry of the file, or the source of the default."""

    def __str__(self) -> str:
        where = "default" if self.place is None else _without_column(self.place)
        return f"{where} ({self.source})" if self.source else where


def _without_column(place: Place) -> str:
    return f"{place.text.label}:{place.line}" if place.line and place.text.has_lines else place.text.label


def origins(spec: NamedSpec, root: Node, slot: Slot) -> dict[str, ValueOrigin]:
    """Dotted path -> origin for every value that a user could change, in the order of the fields."""
    walk = _Walk(_vouchers(spec, ()))
    return {".".join(path): origin for path, origin in walk.values(spec, (), root, slot, None)}


def _vouchers(spec: Spec, path: tuple[str, ...]) -> dict[tuple[str, ...], Source]:
    """The provenance entries of a spec and of the specs in it, by the full path that each vouches for."""
    found: dict[tuple[str, ...], Source] = {}
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        if isinstance(value, NamedSpec):
            found.update(_vouchers(value, (*path, name)))
    if isinstance(spec, NamedSpec):
        found.update({(*path, *key.split(".")): entry.as_source() for key, entry in spec.provenance.items()})
    return found


@dataclass(frozen=True, slots=True)
class _Walk:
    vouchers: dict[tuple[str, ...], Source]

    def values(self, value: Any, path: tuple[str, ...], node: Node | None, slot: Slot, default_source: Source | None
               ) -> Iterator[tuple[tuple[str, ...], ValueOrigin]]:  # fmt: skip
        """Every value at or below `path`; `default_source` is that of the field whose default put this value here."""
        if isinstance(value, Spec):
            yield from self._fields(value, path, node, slot, default_source)
        elif isinstance(value, dict) and get_origin(slot.annotation) is dict:
            for key, entry in value.items():
                inner = slot.enter(key, node)
                assert inner is not None
                yield from self.values(entry, (*path, key), _entry(node, key), inner, default_source)
        else:
            written = node is not None and node.place is not None
            source = self._voucher(path, written) or (None if written else default_source)
            yield path, ValueOrigin(_as_json(value), node.place if node else None, source)

    def _fields(self, spec: Spec, path: tuple[str, ...], node: Node | None, slot: Slot, default_source: Source | None
                ) -> Iterator[tuple[tuple[str, ...], ValueOrigin]]:  # fmt: skip
        for name, inner in field_slots(type(spec)).items():
            if name in _DOCUMENTATION or (name != slot.tag_key and len(inner.choices()) == 1):
                continue
            # What a default value leaves unset has its own default; what it sets, and its tag, are of the outer field.
            own = name != slot.tag_key and name not in (spec.model_fields_set if node is None else ())
            source = inner.source if own else default_source or slot.source
            yield from self.values(getattr(spec, name), (*path, name), _entry(node, name), inner, source)

    def _voucher(self, path: tuple[str, ...], written: bool) -> Source | None:
        """The provenance entry for this value or, if it is written in a file, for the nearest mapping around it."""
        shortest = 1 if written else len(path)
        ends = range(len(path), shortest - 1, -1)
        return next((self.vouchers[path[:end]] for end in ends if path[:end] in self.vouchers), None)


def _as_json(value: Any) -> Any:
    """A list is one value: its entries cannot be changed separately."""
    if isinstance(value, tuple):
        return [_as_json(entry) for entry in value]
    return value.model_dump(mode="json") if isinstance(value, Spec) else value


def _entry(node: Node | None, key: str) -> Node | None:
    return node.entries().get(key) if node else None
