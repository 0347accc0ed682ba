"""The command that checks spec files."""

from typing import Annotated, Any

import typer

from cortexzoo.harness.cli.errors import BAD_INPUT, OK, print_errors
from cortexzoo.harness.cli.options import JsonOption
from cortexzoo.harness.cli.output import print_table, write_json
from cortexzoo.specs.doubts import doubts
from cortexzoo.specs.errors import SpecError
from cortexzoo.specs.loading.load import identity, load_with_origins


def validate(
    files: Annotated[list[str], typer.Argument(metavar="FILES…", help="Spec files or shipped names.")],
    json_file: JsonOption = None,
) -> None:
    """Check spec files and report every mistake with its place.

    What is valid and probably unintended is reported too, and changes no exit code.

    Example: cortexzoo validate my-variant.yaml my-experiment.yaml
    """
    report: list[dict[str, Any]] = []
    for file in files:
        try:
            loaded = load_with_origins(file)
        except SpecError as error:
            print_errors(error.lines)
            report.append({"file": file, "valid": False, "problems": error.lines})
        else:
            warnings = doubts(loaded.spec)
            print_errors([f"{file}: {line}" for line in warnings])
            report.append({"file": file, "valid": True, "warnings": warnings, **identity(loaded)})
    good = [entry for entry in report if entry["valid"]]
    if good:
        columns = ("file", "kind", "name", "hash")
        print_table(columns, [[entry[column] for column in columns] for entry in good])
    write_json(json_file, report)
    raise typer.Exit(OK if len(good) == len(report) else BAD_INPUT)
