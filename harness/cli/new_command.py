"""The command that writes a new spec file."""

import re
from pathlib import Path
from typing import Annotated

import typer

from cortexzoo.harness.cli.errors import BadInput
from cortexzoo.harness.cli.options import KindOption
from cortexzoo.harness.cli.output import console
from cortexzoo.specs.loading.load import load_with_origins
from cortexzoo.specs.loading.starter import starter_text, write_schema_copies
from cortexzoo.specs.tuned import Method


def new(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; its stem becomes the spec's name.")],
    source: Annotated[
        str | None, typer.Option("--from", metavar="NAME", help="The shipped spec that it extends.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="ID|FOLDER",
            help="Write a variant with sidecars on this model of the hub, or in a folder.",
        ),
    ] = None,
    tuned: Annotated[
        Method | None,
        typer.Option(
            "--tuned", metavar="lora|full", help="With --base: no sidecars, the model itself is trained: a control."
        ),
    ] = None,
    kind: KindOption = None,
) -> None:
    """Write a spec file of your own that extends a shipped one.

    Its values are written as comments, with the kinds that could replace each. With --base the numbers of the model
    come from its own config.json.

    Example: cortexzoo new my-recipe.yaml --from robust
    """
    if (source is None) == (base is None):
        raise BadInput("--from NAME or --base ID|FOLDER: exactly one of them is required")
    if tuned is not None and base is None:
        raise BadInput(f"--tuned {tuned}: needs --base ID|FOLDER, the model that is trained")
    if base is not None:
        _write_variant(file, base, tuned)
        return
    assert source is not None
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


def _write_variant(file: Path, base: str, tuned: Method | None) -> None:
    from cortexzoo.specs.base import NAME_PATTERN
    from cortexzoo.specs.errors import SpecError
    from cortexzoo.zoo.models.new_base import variant_text

    if file.suffix not in (".yaml", ".yml") or not re.fullmatch(NAME_PATTERN, file.stem):
        raise SpecError(
            [f"{file}: a spec file ends in .yaml, and its name has lower-case letters, digits, '-' and '.'"]
        )
    text = variant_text(base, file, tuned)
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise BadInput(f"{file} exists already; nothing was written") from None
    except OSError as error:
        raise BadInput(f"{file}: cannot be written: {error.strerror or error}") from None
    console().print(f"{file} written; `cortexzoo show {file}` shows its values and costs", markup=False)
