"""`--set a.b=c`: one value laid over a spec, typed by the field it is for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cortexzoo.specs.kinds import PARTS, Kind
from cortexzoo.specs.loading.merging import TAG_KEYS
from cortexzoo.specs.loading.nodes import Node
from cortexzoo.specs.loading.problems import Place, Problems, SpecText
from cortexzoo.specs.loading.slots import Slot
from cortexzoo.specs.loading.spec_files import MAX_BYTES
from cortexzoo.specs.loading.yaml_nodes import MAX_DEPTH, read_yaml
from cortexzoo.specs.plain_text import one_line

LONGEST_LABEL = 200


@dataclass(frozen=True, slots=True)
class Override:
    """One `--set`: a dotted path and the text of its value."""

    path: tuple[str, ...]
    value: str
    place: Place

    def names_part(self, kind: Kind) -> bool:
        """Whether it chooses a whole part of an experiment: `recipe=robust`."""
        return kind == "experiment" and len(self.path) == 1 and self.path[0] in PARTS


def parse_overrides(texts: Sequence[str], problems: Problems) -> list[Override]:
    """The overrides of a command line. A malformed one is added to `problems` and left out."""
    overrides: list[Override] = []
    for text in texts:
        place = Place(SpecText(label(text), Path.cwd(), has_lines=False))
        path, equals, value = text.partition("=")
        keys = tuple(path.strip().split("."))
        if not equals or not all(keys):
            problems.add(place, "an override is a path and a value, as in recipe.steps=500")
            continue
        if len(keys) > MAX_DEPTH:
            problems.add(place, f"the path has {len(keys)} parts, at most {MAX_DEPTH} are read")
            continue
        if len(value) > MAX_BYTES:
            problems.add(place, f"the value has {len(value)} characters, at most {MAX_BYTES} are read")
            continue
        overrides.append(Override(keys, value.strip(), place))
    return overrides


def label(text: str) -> str:
    """How messages name an override: in full, unless it is long."""
    return one_line(f"--set {text}", LONGEST_LABEL)


def in_order(overrides: list[Override], kind: Kind) -> list[Override]:
    """Parts first, then tags from the outside in, then the rest as given: so the order on the command line is free.

    Choosing a part or a tag replaces what stood there, which would undo an override of something inside.
    """

    def rank(override: Override) -> tuple[int, int]:
        if override.names_part(kind):
            return 0, 0
        return (1, len(override.path)) if override.path[-1] in TAG_KEYS else (2, 0)

    return sorted(overrides, key=rank)


def override_tree(override: Override, base: Node, slot: Slot, kind: Kind, problems: Problems) -> Node:
    """The override as a tree to lay over `base`. Raises `Refused` when its value is no YAML."""
    node = replace(_value(override, base, slot, kind, problems), place=override.place, key_place=override.place)
    for key in reversed(override.path):
        node = Node({key: node}, override.place, override.place)
    return node


def _value(override: Override, base: Node, slot: Slot, kind: Kind, problems: Problems) -> Node:
    target = _slot_at(override.path, base, slot)
    text = override.value
    if target and target.takes_only_text():
        return Node(text, override.place)
    if override.names_part(kind) and not text.startswith("{"):
        return Node(text, override.place)
    node = read_yaml(text, override.place.text, problems)
    item = target.item() if target else None
    if isinstance(node.content, list) and item and item.takes_only_text():
        return replace(node, content=[_as_text(entry) for entry in node.content])
    return node


def _slot_at(path: tuple[str, ...], base: Node, slot: Slot) -> Slot | None:
    node: Node | None = base
    found: Slot | None = slot
    for key in path:
        if found is None:
            return None
        found = found.enter(key, node)
        node = node.entries().get(key) if node else None
    return found


def _as_text(node: Node) -> Node:
    return Node(node.written, node.place) if node.written is not None else node
