"""`cortexzoo study detection`: defects that are caught, healthy modules that are not accused."""

from pathlib import Path
from typing import Annotated

import typer

from cortexzoo.harness.cli.errors import OK, UNEXPECTED_VERDICT
from cortexzoo.harness.cli.options import JsonOption
from cortexzoo.harness.cli.output import print_table, print_text, require_folder_of, standard_error, write_json

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def studies() -> None:
    """One study."""


@app.command("detection")
def detection(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Python files with DEFECTS and HEALTHY.")],
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 … N − 1 of every healthy module.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.05, help="CPU time a property and module.")] = 0.6,
    jobs: Annotated[int, typer.Option(min=1, help="Modules at the same time, one thread each.")] = 2,
    written: Annotated[
        Path | None, typer.Option("--mutants", help="A file of `cortexzoo mutants --json`, for its rows.")
    ] = None,
    generated: Annotated[
        Path | None, typer.Option("--generated", help="The same of `cortexzoo mutants --generated`.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Results, a line each as they come; continues where it ended.")
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Check modules whose defect is known, and healthy ones with several seeds; print what is caught and accused.

    A file of cases has DEFECTS = {name: (factory, property)} and HEALTHY = {name: factory}. It is imported here:
    name only files whose code you trust. A module that is missed or accused is told at once. Exit code 1: a defect is
    missed, or a healthy module accused.
    """
    from rich.progress import Progress

    from cortexzoo.harness.studies.detection import (
        Outcome,
        Task,
        accusations,
        false_alarms,
        mutant_rows,
        outcomes,
        table,
        tasks,
    )

    require_folder_of(json_file)
    require_folder_of(keep)
    mutants = mutant_rows(written, generated)
    wanted = list(tasks(files, seeds))
    with Progress(console=standard_error()) as progress:
        bar = progress.add_task("detection", total=len(wanted))

        def done(task: Task, outcome: Outcome) -> None:
            progress.advance(bar)
            for line in accusations(task, outcome) or [f"{task.name}: missed"] * (task.defect and not outcome.verdicts):
                progress.console.print(line, markup=False, highlight=False)

        found = outcomes(wanted, seconds, jobs, done, keep)
    header, *rows = table(found)
    if rows:
        print_table(header, rows)
    if mutants:
        print_table(("mutants", "all", "caught"), mutants)
    accused = false_alarms(found)
    healthy = sum(not task.defect for task in wanted)
    for line in accused:
        print_text(line)
    modules = len({task.name for task in wanted if not task.defect})
    wrong = len({line.partition(": ")[0] for line in accused})
    print_text(f"healthy: {modules} modules × {seeds} seeds, {wrong} of {healthy} accused")
    missed = [task.name for task, outcome in found.items() if task.defect and not outcome.verdicts]
    write_json(
        json_file,
        {
            "seeds": seeds,
            "seconds": seconds,
            "rows": [dict(zip(header, row, strict=True)) for row in rows],
            "mutants": mutants,
            "accused": accused,
            "missed": missed,
        },
    )
    raise typer.Exit(UNEXPECTED_VERDICT if missed or accused else OK)
