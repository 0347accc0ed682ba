"""The command that remembers in which folders code of specs may run."""

import os
from pathlib import Path
from typing import Annotated

import typer

from cortexzoo.harness.cli.errors import BadInput
from cortexzoo.harness.cli.output import print_text
from cortexzoo.specs.allowed_code import allowed_folders, remember


def allow_code(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="The folder whose files may run, with all within it.")
    ] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Forget this folder.")] = False,
) -> None:
    """Allow the code in a folder to run when a spec names it, or list the allowed folders.

    Specs of the family `module` name a Python file, which runs with --allow-code, or when it lies in an allowed folder.
    The list is kept in your own configuration folder: no project can allow its own code.

    Example: cortexzoo allow-code .
    """
    known = allowed_folders()
    if folder is None:
        if forget:
            raise BadInput("--forget needs the folder to forget")
        for line in map(str, known):
            print_text(line)
        if not known:
            print_text("no folder is allowed")
        return
    real = Path(os.path.realpath(folder))
    if forget and real not in known:
        raise BadInput(f"{folder}: is not an allowed folder (cortexzoo allow-code lists them)")
    if not forget and not real.is_dir():
        raise BadInput(f"{folder}: no such folder")
    remember([each for each in known if each != real] if forget else [*known, real])
    print_text(f"{real}: {'forgotten' if forget else 'its code may run'}")
