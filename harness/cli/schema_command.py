"""The command that prints or writes JSON Schemas."""

from typing import Annotated

import typer

from cortexzoo.harness.checking.schema import SCHEMA, certificate_is_fresh, write_schema
from cortexzoo.harness.cli.errors import OK, UNEXPECTED_VERDICT, BadInput, print_errors
from cortexzoo.harness.cli.options import KindArgument
from cortexzoo.harness.cli.output import console
from cortexzoo.specs.loading.schema_export import SCHEMAS, schema_text, stale_schemas, write_schemas


def schema(
    kind: KindArgument = None,
    write: Annotated[bool, typer.Option("--write", help="Write the schemas of all kinds beside the specs.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if a written schema is stale.")] = False,
) -> None:
    """Print the JSON Schema of a kind of spec, for editors.

    Example: cortexzoo schema recipe > recipe.json
    """
    if [kind is not None, write, check].count(True) != 1:
        raise BadInput("schema takes a kind, or --write, or --check")
    if kind is not None:
        console().out(schema_text(kind), end="")
    elif write:
        try:
            write_schemas()
            write_schema()
        except OSError as error:
            raise BadInput(f"{SCHEMAS}: cannot be written: {error.strerror or error}") from error
    else:
        stale = stale_schemas() + ([] if certificate_is_fresh() else [f"harness/schema/{SCHEMA.name}"])
        print_errors([f"{file} is stale: run `cortexzoo schema --write`" for file in stale])
        raise typer.Exit(UNEXPECTED_VERDICT if stale else OK)
