"""The copy of a module's file that a run keeps, for the time when the file itself has changed."""

import shutil
from pathlib import Path

from cortexzoo.harness.errors import RunStopped
from cortexzoo.specs.own_variant import ModuleSpec
from cortexzoo.specs.variant import VariantSpec
from cortexzoo.zoo.models.own_source import CODE, copies


def keep_code(folder: Path, variant: VariantSpec) -> None:
    """Copy the file of a module variant into a folder, if it is one. Raises `RunStopped`."""
    if not isinstance(variant, ModuleSpec):
        return
    source = copies.get(variant.sha256, Path(variant.file))
    if source == (folder / CODE).absolute():
        return
    try:
        shutil.copyfile(source, folder / CODE)
    except OSError as problem:
        raise RunStopped(f"{folder / CODE}: cannot be written: {problem.strerror or problem}") from problem
