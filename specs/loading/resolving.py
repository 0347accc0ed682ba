"""From a spec file to one tree of values: following `extends:`, the parts of an experiment and overrides."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cortexzoo.specs.kinds import KINDS, PARTS, Kind, spec_type
from cortexzoo.specs.loading.merging import merge, with_default_tags
from cortexzoo.specs.loading.nodes import Node
from cortexzoo.specs.loading.overrides import in_order, override_tree, parse_overrides
from cortexzoo.specs.loading.problems import Place, Problems, Refused, SpecText, did_you_mean, nearest, shortened
from cortexzoo.specs.loading.shipped import is_path, label_of, shipped_file, shipped_kinds, shipped_names
from cortexzoo.specs.loading.slots import Slot
from cortexzoo.specs.loading.spec_files import SpecFile, Unreadable, parse_file, read_file

MAX_CHAIN = 16


@dataclass(frozen=True, slots=True)
class Document:
    """One spec as a tree: of which kind, and every value with its place."""

    kind: Kind
    root: Node


class Resolver:
    """Resolves one spec and whatever it refers to. Mistakes that leave the rest readable go to `problems`."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def open(self, reference: str | Path, kind: Kind | None) -> Document:
        """The spec of a path or shipped name. Without `kind` an experiment comes before other kinds.

        Raises `Refused`.
        """
        if isinstance(reference, Path) or is_path(reference):
            return self._file(SpecFile(Path(reference), str(reference)), kind)
        place = Place(SpecText(reference, Path.cwd()))
        if kind is not None:
            return self._shipped(reference, kind, place)
        kinds = shipped_kinds(reference)
        if "experiment" in kinds or len(kinds) == 1:
            return self._shipped(reference, kinds[-1], place)
        if kinds:
            raise Refused(place, f"shipped as {' and as '.join(kinds)}; give its kind")
        names = sorted({name for each in KINDS for name in shipped_names(each)})
        raise Refused(place, f"no spec of this name is shipped{_hint(reference, names, Path.cwd())}")

    def override(self, document: Document, texts: Sequence[str]) -> Document:
        """The document with `--set`s laid over it."""
        slot = Slot.of_type(spec_type(document.kind))
        root = document.root
        for override in in_order(parse_overrides(texts, self._problems), document.kind):
            try:
                tree = override_tree(override, root, slot, document.kind, self._problems)
            except Refused as refused:
                self._problems.add_refusal(refused)
                continue
            if document.kind == "experiment":
                tree = replace(tree, content=self._with_parts(tree))
            root = with_default_tags(merge(root, tree), slot)
        return replace(document, root=root)

    def _file(
        self, file: SpecFile, kind: Kind | None, asked_at: Place | None = None, chain: tuple[SpecFile, ...] = ()
    ) -> Document:
        """The resolved content of a file. `chain`: the files that extend one another up to this one."""
        place = asked_at or Place(file.text)
        if "\0" in str(file.path):
            raise Refused(place, "contains a NUL character, which no path may contain")
        if any(os.path.realpath(file.path) == os.path.realpath(earlier.path) for earlier in chain):
            labels = " -> ".join([*(earlier.label for earlier in chain), file.label])
            raise Refused(place, f"circular `extends`: {labels}")
        if len(chain) >= MAX_CHAIN:
            raise Refused(place, f"`extends` chains more than {MAX_CHAIN} files")
        try:
            content = read_file(file.path)
        except Unreadable as error:
            raise Refused(place, f"{file.label} {error}" if asked_at else str(error)) from error
        root = parse_file(content, file.text, self._problems)
        found = _kind_of(root)
        if kind is not None and found != kind:
            if asked_at is None:
                option = _option(found, file.label, kind)
                raise Refused(root.entries()["kind"].place or place, f"kind must be {kind}, got {found}{option}")
            raise Refused(asked_at, f"{file.label} is {_with_article(found)}, and {_with_article(kind)} is needed here")
        return Document(found, self._resolved(root, found, (*chain, file)))

    def _shipped(self, name: str, kind: Kind, asked_at: Place, chain: tuple[SpecFile, ...] = ()) -> Document:
        names = shipped_names(kind)
        if name not in names:
            if others := shipped_kinds(name):
                got, needed = _with_article(others[0]), _with_article(kind)
                subject = "" if asked_at.text.label == name else f"{name} "
                wanted = f"{subject}is {got}, and {needed} is needed here"
                raise Refused(asked_at, wanted + _option(others[0], name, kind))
            hint = _hint(name, names, asked_at.text.folder)
            raise Refused(asked_at, f"no {kind} called {shortened(name)!r} is shipped{hint}")
        return self._file(shipped_file(kind, name), kind, asked_at, chain)

    def _reference(self, node: Node, kind: Kind, key: str, chain: tuple[SpecFile, ...] = ()) -> Document:
        """What a name or path written in a spec refers to."""
        place = node.place
        assert place is not None
        if not isinstance(node.content, str):
            raise Refused(place, f"{key} must be a name or a path ending in .yaml, got {node.describe()}")
        if not is_path(node.content):
            return self._shipped(node.content, kind, place, chain)
        path = place.text.folder / node.content
        return self._file(SpecFile(path, label_of(path)), kind, place, chain)

    def _resolved(self, node: Node, kind: Kind, chain: tuple[SpecFile, ...]) -> Node:
        """`node` over what it extends. A part written inside an experiment has no chain and keeps its parent's name."""
        slot = Slot.of_type(spec_type(kind))
        entries = self._with_parts(node) if kind == "experiment" else dict(node.entries())
        extends = entries.pop("extends", None)
        node = replace(node, content=entries)
        if extends is not None:
            try:
                node = self._extended(node, self._reference(extends, kind, "extends", chain).root, slot, bool(chain))
            except Refused as refused:
                self._problems.add_refusal(refused)
                node = replace(node, incomplete=True)
        return with_default_tags(node, slot)

    def _extended(self, node: Node, parent: Node, slot: Slot, is_file: bool) -> Node:
        key = slot.tag_key or ""
        new, old = node.entries().get(key), parent.entries().get(key)
        if new and old and new.place and new.content != old.content:
            got = f"{key} must be {old.content}, as in what this extends, got {new.describe()}"
            raise Refused(new.place, f"{got}; remove `extends` to start afresh")
        inherited = {
            name: entry for name, entry in parent.entries().items() if not (is_file and name in ("name", "description"))
        }
        merged = merge(replace(parent, content=inherited), node)
        return replace(merged, place=node.place, key_place=node.key_place)

    def _with_parts(self, experiment: Node) -> dict[str, Node]:
        """The entries of an experiment, each part that is a reference or extends a spec replaced by what that gives."""
        entries = dict(experiment.entries())
        for part in PARTS:
            if part in entries:
                entries[part] = self._part(part, entries[part])
        return entries

    def _part(self, part: Kind, node: Node) -> Node:
        if "extends" in node.entries():
            return replace(self._resolved(node, part, ()), whole=True)
        if not isinstance(node.content, str):
            return node
        try:
            document = self._reference(node, part, part)
        except Refused as refused:
            self._problems.add_refusal(refused)
            return replace(node, content={}, whole=True, incomplete=True)
        return replace(document.root, key_place=node.key_place, whole=True)


def _kind_of(root: Node) -> Kind:
    assert root.place is not None
    node = root.entries().get("kind")
    if node is None:
        raise Refused(root.place, f"kind is missing; write one of: {', '.join(KINDS)}")
    for kind in KINDS:
        if node.content == kind:
            return kind
    wanted = f"kind must be one of {', '.join(KINDS)}, got {node.describe()}"
    raise Refused(node.place or root.place, wanted + nearest(str(node.content), KINDS))


def _with_article(kind: Kind) -> str:
    return kind if kind in ("data", "faults") else f"an {kind}" if kind == "experiment" else f"a {kind}"


def _option(got: Kind, name: str, needed: Kind) -> str:
    """The option that takes a part of an experiment, where the part was given in place of the experiment."""
    return f"; use it with --{got} {name}" if needed == "experiment" and got in PARTS else ""


def _hint(name: str, names: Sequence[str], folder: Path) -> str:
    for ending in (".yaml", ".yml"):
        if os.path.isfile(folder / f"{name}{ending}"):  # also of a name that is too long for the file system
            return f"; did you mean the file {name}{ending}?"
    return did_you_mean(name, names)
