"""The command that lists runs. Everything heavy is imported inside it."""

import time
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cortexzoo.harness.cli.errors import BadInput
from cortexzoo.harness.cli.options import RUNS, JsonOption, RunsOption
from cortexzoo.harness.cli.output import (
    print_table,
    print_text,
    require_folder_of,
    without_foreign_warnings,
    write_json,
)

if TYPE_CHECKING:
    from cortexzoo.harness.runs.listing import RunRow

StatusName = Literal["finished", "stopped", "interrupted", "running", "unfinished", "damaged", "empty"]
OutcomeName = Literal["as-expected", "unexpected", "unchecked"]


def runs(
    experiment: Annotated[
        str | None, typer.Argument(metavar="[EXPERIMENT]", help="Only runs of this experiment.")
    ] = None,
    status: Annotated[StatusName | None, typer.Option("--status", help="Only runs with this status.")] = None,
    verdict: Annotated[OutcomeName | None, typer.Option("--verdict", help="Only runs with this outcome.")] = None,
    remove_empty: Annotated[
        bool, typer.Option("--remove-empty", help="Remove runs that were killed before their spec was written.")
    ] = False,
    folder: RunsOption = RUNS,
    json_file: JsonOption = None,
) -> None:
    """List runs with their status and verdict.

    The oldest run comes first. Status: finished, stopped (by an error), interrupted (Ctrl-C or SIGTERM), running,
    unfinished (killed), damaged or empty (killed before its spec was written).

    Example: cortexzoo runs cortexgpt-stable --verdict unexpected
    """
    from cortexzoo.harness.runs import listing
    from cortexzoo.harness.runs.find import all_runs, empty_runs
    from cortexzoo.harness.tracking.jsonl import to_json_value

    without_foreign_warnings()
    require_folder_of(json_file)
    if not folder.is_dir():
        raise BadInput(f"--runs {folder}: no such folder")
    if remove_empty:
        for path in empty_runs(folder):
            print_text(
                f"{path}: {'removed' if listing.remove_empty(path, time.time()) else 'kept: begun a minute ago'}"
            )
    found = [*map(listing.row_of, all_runs(folder)), *map(listing.empty_row, empty_runs(folder))]
    rows = [
        row
        for row in sorted(found, key=lambda row: row.path.name)
        if (experiment is None or row.experiment == experiment)
        and (status is None or row.status == status)
        and (verdict is None or row.outcome.replace(" ", "-") == verdict)
    ]
    if rows:
        columns = ("run", "status", "seed", "steps", "loss", "properties", "verdict")
        print_table(columns, [_cells(row) for row in rows])
    else:
        print_text(f"no such run in {folder}")
    write_json(json_file, to_json_value([row.as_json() for row in rows]))


def _cells(row: "RunRow") -> tuple[str, ...]:
    numbers = ("–" if value is None else str(value) for value in (row.seed, row.steps))
    loss = "–" if row.validation_loss is None else f"{row.validation_loss:.3f}"
    return (str(row.path), row.status, *numbers, loss, row.properties or "–", row.outcome)
