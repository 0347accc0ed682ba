"""The text of a new spec file that extends a shipped one, for a user to fill in."""

import os
import re
from pathlib import Path

from cortexzoo.specs.base import NAME_PATTERN
from cortexzoo.specs.errors import SpecError
from cortexzoo.specs.experiment import ExperimentSpec
from cortexzoo.specs.kinds import PARTS, Kind
from cortexzoo.specs.loading.dumping import mapping_text, spec_mapping
from cortexzoo.specs.loading.load import LoadedSpec, load_with_origins
from cortexzoo.specs.loading.schema_export import SCHEMAS
from cortexzoo.specs.loading.shipped import ENDINGS, is_path, shipped_names

COPIES = ".cortexzoo-schema"
"""The folder of schemas beside a user's spec files, to be committed with them."""

_HEAD = """\
# yaml-language-server: $schema={schema}
# Values that are not set here come from the shipped {kind} `{parent}`: cortexzoo show {parent} --kind {kind}
# To set a value, uncomment its line and the lines of the mappings around it.
{hint}kind: {kind}
name: {name}
extends: {parent}
description: ""

"""
_EXPERIMENT_HINT = """\
# A part is a shipped name, a path ending in .yaml, or a mapping: recipe: {{extends: {recipe}, steps: 100}}
"""
_HEAD_KEYS = ("kind", "name", "description", "provenance")


def starter_text(file: Path, parent: str, kind: Kind | None) -> str:
    """A spec file named after `file` that extends the shipped spec `parent`, with its values as comments.

    Raises `SpecError` for a file name that is no name of a spec, and for an unknown parent.
    """
    if is_path(parent):
        raise SpecError([f"--from {parent}: must be the name of a shipped spec (see `cortexzoo list`)"])
    if file.suffix not in ENDINGS:
        raise SpecError([f"{file}: a spec file ends in .yaml, as in {file.with_suffix('.yaml')}"])
    if not re.fullmatch(NAME_PATTERN, file.stem):
        better = re.sub(r"[^a-z0-9.-]+", "-", file.stem.lower()).strip("-.") or "my-spec"
        wanted = "must be lower-case letters, digits, '-' and '.'"
        raise SpecError([f"{file}: the name {file.stem!r} {wanted}; for example {better}{file.suffix}"])
    loaded = load_with_origins(parent, kind)
    head = _HEAD.format(
        schema=schema_reference(loaded.kind, file),
        kind=loaded.kind,
        parent=parent,
        name=file.stem,
        hint=_EXPERIMENT_HINT.format(recipe=loaded.spec.recipe.name) if isinstance(loaded.spec, ExperimentSpec) else "",
    )
    return head + "".join(f"# {line}\n" for line in _values(loaded).splitlines())


def _values(loaded: LoadedSpec) -> str:
    mapping = spec_mapping(loaded.spec, with_comments=True)
    for key in _HEAD_KEYS:
        mapping.pop(key, None)
    for part in PARTS if loaded.kind == "experiment" else ():
        name = mapping[part]["name"]
        if name in shipped_names(part):
            mapping[part] = name
    return mapping_text(mapping)


def schema_reference(kind: Kind, file: Path) -> str:
    """Relative, so that it is true for colleagues too: to this project's schemas, or to copies beside the file."""
    folder = file.parent.absolute()
    if folder.is_relative_to(SCHEMAS.parent):
        return Path(os.path.relpath(SCHEMAS / f"{kind}.json", folder)).as_posix()
    return f"{COPIES}/{kind}.json"


def write_schema_copies(kind: Kind, file: Path) -> list[Path]:
    """Copy the schema that `file` refers to, with those that it refers to itself, beside the file.

    Returns the copies; none inside this project. Raises `OSError`.
    """
    if not schema_reference(kind, file).startswith(f"{COPIES}/"):
        return []
    folder = file.parent / COPIES
    folder.mkdir(exist_ok=True)
    wanted, copied = [f"{kind}.json"], []
    while wanted:
        text = (SCHEMAS / wanted[0]).read_text(encoding="utf-8")
        copied.append(folder / wanted.pop(0))
        copied[-1].write_text(text, encoding="utf-8", newline="\n")
        referred = set(re.findall(r'"\$ref": "([a-z]+\.json)', text))
        wanted += sorted(referred - {path.name for path in copied} - set(wanted))
    return copied
