"""The shipped library: spec files that are found by their names."""

import os
from pathlib import Path

from cortexzoo.specs.kinds import FOLDERS, KINDS, Kind
from cortexzoo.specs.loading.spec_files import SpecFile
from cortexzoo.specs.loading.yaml_nodes import top_level_text

LIBRARY = Path(__file__).parents[1] / "library"
ENDINGS = (".yaml", ".yml")


def shipped_names(kind: Kind) -> list[str]:
    """The names of all shipped specs of a kind, sorted."""
    return sorted(path.stem for path in (LIBRARY / FOLDERS[kind]).glob("*.yaml"))


def shipped_kinds(name: str) -> list[Kind]:
    """The kinds of which a spec of this name is shipped."""
    return [kind for kind in KINDS if name in shipped_names(kind)]


def shipped_file(kind: Kind, name: str) -> SpecFile:
    """The file of a shipped spec; it need not exist."""
    return SpecFile(LIBRARY / FOLDERS[kind] / f"{name}.yaml", f"library/{FOLDERS[kind]}/{name}.yaml")


def shipped_description(kind: Kind, name: str) -> str:
    """What a shipped spec is for. Reads the file up to its description and validates nothing."""
    file = shipped_file(kind, name)
    return top_level_text(file.path.read_text(encoding="utf-8"), file.text, "description")


def is_path(reference: str) -> bool:
    """Whether a reference names a file rather than a shipped spec."""
    return reference.endswith(ENDINGS) or "/" in reference or "\\" in reference


def label_of(path: Path) -> str:
    """How messages name a file that another file refers to: short inside the library and the current folder."""
    absolute = os.path.normpath(path.absolute())
    for folder, prefix in ((str(LIBRARY), "library"), (os.getcwd(), "")):
        if absolute == folder or absolute.startswith(folder + os.sep):
            return Path(prefix, os.path.relpath(absolute, folder)).as_posix()
    return absolute
