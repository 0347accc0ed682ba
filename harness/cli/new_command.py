"""The command that writes a new spec file."""

from pathlib import Path
from typing import Annotated

import typer

from cortexzoo.harness.cli.errors import BadInput
from cortexzoo.harness.cli.options import KindOption
from cortexzoo.harness.cli.output import console
from cortexzoo.specs.loading.load import load_with_origins
from cortexzoo.specs.loading.starter import starter_text, write_schema_copies


def new(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; its stem becomes the spec's name.")],
    source: Annotated[str, typer.Option("--from", metavar="NAME", help="The shipped spec that it extends.")],
    kind: KindOption = None,
) -> None:
    """Write a spec file of your own that extends a shipped one.

    Its values are written as comments, with the kinds that could replace each.

    Example: cortexzoo new my-recipe.yaml --from robust
    """
    text = starter_text(file, source, kind)
    used = load_with_origins(source, kind).kind
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
        copies = write_schema_copies(used, file)
    except FileExistsError as error:
        raise BadInput(f"{file} exists already; nothing was written") from error
    except OSError as error:
        raise BadInput(f"{file}: cannot be written: {error.strerror or error}") from error
    console().print(f"{file} written; `cortexzoo show {file}` shows its values", markup=False)
    if copies:
        console().print(f"{copies[0].parent}: schemas for editors, to be committed with it", markup=False)
