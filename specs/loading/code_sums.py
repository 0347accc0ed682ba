"""The sum of the file that a module variant names, written into its spec."""

import hashlib
from dataclasses import replace
from pathlib import Path

from cortexzoo.specs.kinds import Kind
from cortexzoo.specs.loading.nodes import Node
from cortexzoo.specs.loading.problems import Problems
from cortexzoo.specs.regular_files import read_regular

VARIANT = "variant"


def with_code_sums(root: Node, kind: Kind, problems: Problems) -> Node:
    """`root` with `sha256` beside each `source` of a module, unless it is written there, as in the spec of a run."""
    if kind == VARIANT:
        return _summed(root, problems, "")
    if kind == "experiment" and VARIANT in root.entries():
        variant = _summed(root.entries()[VARIANT], problems, f"{VARIANT}.")
        return replace(root, content={**root.entries(), VARIANT: variant})
    return root


def _summed(variant: Node, problems: Problems, path: str) -> Node:
    entries = variant.entries()
    family, source = entries.get("family"), entries.get("source")
    if family is None or family.content != "module" or source is None or source.place is None:
        return variant
    if "sha256" in entries and entries["sha256"].content:
        return variant
    file = Path(str(source.content).rpartition(":")[0])
    if file.suffix != ".py":
        return variant
    try:
        content = read_regular(file)
    except OSError as problem:
        problems.add(source.place, f"{path}source: {file} cannot be read: {problem.strerror or problem}")
        return replace(variant, incomplete=True)
    return replace(variant, content={**entries, "sha256": Node(hashlib.sha256(content).hexdigest(), source.place)})
