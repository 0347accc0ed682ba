"""YAML text -> a tree of values with their places.

The events of ruamel.yaml's parser are read directly, not its node graph: that bounds depth, aliases and size while
reading, keeps both positions of a duplicate key, and types plain scalars by the YAML 1.2 core schema (`1e-4` is a
number, `yes` and `12:30` are text) regardless of a `%YAML` directive.
"""

import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from cortexzoo.specs.loading.nodes import Node, Scalar
from cortexzoo.specs.loading.problems import Place, Problems, Refused, SpecText, shortened

MAX_DEPTH = 32
MAX_ALIASES = 64
MAX_DIGITS = 400

_STRING_TAG = "tag:yaml.org,2002:str"
_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_ANY_INTEGER = re.compile(f"{_INTEGER.pattern}|{_OCTAL.pattern}|{_HEXADECIMAL.pattern}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"([-+]?)\.(inf|Inf|INF)")
_NOT_A_NUMBER = re.compile(r"\.(nan|NaN|NAN)")
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_yaml(text: str, source: SpecText, problems: Problems) -> Node:
    """The one document of `text`; an empty text is the scalar null.

    Mistakes that leave the rest readable are added to `problems`. Raises `Refused` for any other.
    """
    return _Reader(source, problems).document(_events(text, source))


def top_level_text(text: str, source: SpecText, key: str) -> str:
    """The scalar under `key` of the outermost mapping, or an empty text; what follows it is not read.

    Raises `Refused` when the text before it is no YAML.
    """
    depth, found_key, is_key = 0, "", True
    for event in _events(text, source):
        if isinstance(event, MappingEndEvent | SequenceEndEvent):
            depth -= 1
        if depth == 1 and isinstance(event, ScalarEvent):
            if not is_key and found_key == key:
                return str(event.value)
            found_key, is_key = str(event.value), not is_key
        elif depth == 1 and isinstance(event, MappingEndEvent | SequenceEndEvent | AliasEvent):
            is_key = not is_key
        if isinstance(event, MappingStartEvent | SequenceStartEvent):
            depth += 1
    return ""


def _events(text: str, source: SpecText) -> Iterator[Any]:
    for number, line in enumerate(text.split("\n"), start=1):
        indent = len(line) - len(line.lstrip(" "))
        if line[indent : indent + 1] == "\t" and line.strip():
            raise Refused(Place(source, number, indent + 1), "the indentation contains a tab; use spaces")
    reached = Place(source, 1, 1)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            reached = Place(source, event.end_mark.line + 1, event.end_mark.column + 1)
            yield event
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(source, mark.line + 1, mark.column + 1) if mark else Place(source)
        if "'\\t'" in (error.problem or ""):
            raise Refused(place, "a tab before a value; use spaces") from error
        raise Refused(place, f"not YAML: {error.problem or error.context}") from error
    except YAMLError as error:
        message = str(error).splitlines()[0]
        position = getattr(error, "position", None)
        if not isinstance(position, int):
            raise Refused(Place(source), f"not YAML: {message}") from error
        raise Refused(place_at(text, position, source), f"not YAML: {message}") from error
    except (OverflowError, ValueError) as error:
        # ruamel lets `chr` complain about "\UFFFFFFFF".
        raise Refused(reached, "not YAML: the escape after this is not a character") from error


def place_at(text: str, index: int, source: SpecText) -> Place:
    """The place of the character at `index`."""
    before = text[:index]
    return Place(source, before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1)


class _Reader:
    def __init__(self, source: SpecText, problems: Problems) -> None:
        self._source = source
        self._problems = problems
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._values = 0
        self._aliases = 0

    def document(self, events: Iterator[Any]) -> Node:
        root: Node | None = None
        for event in events:
            if isinstance(event, DocumentStartEvent):
                if root is not None:
                    raise Refused(self._place(event), "a second document begins here; a file contains one spec")
                root = self._node(next(events), events, 0)
            elif isinstance(event, StreamEndEvent):
                break
        return root or Node(None, Place(self._source, 1, 1))

    def _place(self, event: Any) -> Place:
        return Place(self._source, event.start_mark.line + 1, event.start_mark.column + 1)

    def _node(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        place = self._place(event)
        if isinstance(event, AliasEvent):
            return self._alias(event.anchor, place)
        if depth > MAX_DEPTH:
            raise Refused(place, f"nested deeper than {MAX_DEPTH} levels")
        before = self._values
        self._count(place, 1)
        self._check_tag(event, place)
        if isinstance(event, ScalarEvent):
            node = self._scalar(event, place)
        elif isinstance(event, SequenceStartEvent):
            node = Node(self._items(events, depth + 1), place)
        else:
            assert isinstance(event, MappingStartEvent)
            node = Node(self._pairs(events, depth + 1), place)
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, self._values - before)
        return node

    def _count(self, place: Place, values: int) -> None:
        self._values += values
        self._problems.count(place, values)

    def _alias(self, anchor: str, place: Place) -> Node:
        if anchor not in self._anchors:
            raise Refused(place, f"the alias *{anchor} has no anchor &{anchor} before it")
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            raise Refused(place, f"more than {MAX_ALIASES} aliases")
        node, values = self._anchors[anchor]
        self._count(place, values)
        return Node(node.content, place, written=node.written)

    def _check_tag(self, event: Any, place: Place) -> None:
        tag = event.tag
        if tag is None or str(tag) in ("!", _STRING_TAG):
            return
        self._problems.add(place, f"the tag {shortened(str(tag))} is not supported; remove it")

    def _items(self, events: Iterator[Any], depth: int) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := next(events), SequenceEndEvent):
            items.append(self._node(event, events, depth))
        return items

    def _pairs(self, events: Iterator[Any], depth: int) -> dict[str, Node]:
        pairs: dict[str, Node] = {}
        while not isinstance(event := next(events), MappingEndEvent):
            key_place = self._place(event)
            key = self._key(event, self._node(event, events, depth), key_place)
            event = next(events)
            value = self._node(event, events, depth)
            # An empty value has its mark on the next line: it stands behind its key.
            place = key_place if value.written == "" else value.place
            if key is None:
                continue
            if key in pairs:
                first = pairs[key].key_place
                assert first is not None
                self._problems.add(key_place, f"{shortened(key)} is given twice, first at {first.line}:{first.column}")
                continue
            pairs[key] = Node(value.content, place, key_place, value.written)
        return pairs

    def _key(self, event: Any, node: Node, place: Place) -> str | None:
        if not isinstance(event, ScalarEvent):
            self._problems.add(place, f"a key must be a word, got {node.describe()}")
            return None
        if event.value == "<<" and event.style is None:
            self._problems.add(place, "merge keys (<<) are not supported; use `extends:`")
            return None
        return event.value if node.written is None else node.written

    def _scalar(self, event: Any, place: Place) -> Node:
        text: str = event.value
        if _SURROGATE.search(text):
            self._problems.add(place, "half of a surrogate pair is not a character")
            return Node(_SURROGATE.sub("?", text), place)
        if event.style is not None or event.tag is not None:
            return Node(text, place)
        if len(text) > MAX_DIGITS and _ANY_INTEGER.fullmatch(text):
            self._problems.add(place, f"a number of more than {MAX_DIGITS} digits")
            return Node(0, place, written=text)
        value = plain_scalar(text)
        return Node(value, place, written=None if isinstance(value, str) else text)


def plain_scalar(text: str) -> Scalar:
    """What an unquoted scalar means in the core schema of YAML 1.2."""
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEXADECIMAL.fullmatch(text):
        return int(text[2:], 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    if infinite := _INFINITE.fullmatch(text):
        return float(infinite[1] + "inf")
    return float("nan") if _NOT_A_NUMBER.fullmatch(text) else text
