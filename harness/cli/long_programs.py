"""Programs of `cortexzoo bench` about what lasts: a process of many runs, and a run of many steps."""

import os
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cortexzoo.harness.bench import long_life, long_record
from cortexzoo.harness.cli.errors import OK, UNEXPECTED_VERDICT
from cortexzoo.harness.cli.options import JsonOption
from cortexzoo.harness.cli.output import print_table, print_text, require_folder_of, standard_error, write_json

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command("long-life")
def of_long_life(
    minutes: Annotated[float, typer.Option(min=0, help="Rounds begin until so much time has passed,")] = 20.0,
    runs: Annotated[int, typer.Option(min=1, help="and until there are so many runs in the folder.")] = 200,
    json: JsonOption = None,
) -> None:
    """Train, check, sleep and compare in one process for a long time.

    Printed is what the process took in the first and in the last third of the rounds, once its caches are full.
    Exit code 1 when memory grew by more than 5 %, or descriptors, threads or temporary files at all.
    """
    require_folder_of(json)
    console = standard_error()
    with tempfile.TemporaryDirectory() as folder, console.status("") as status:
        found = long_life.lived(_in_silence, minutes, runs, Path(folder), status.update)
    first, last = long_life.thirds(found)
    rows = [(unit, f"{a:.1f}", f"{b:.1f}") for unit, a, b in zip(long_life.UNITS, first, last, strict=True)]
    print_table(("", "first third", "last third"), rows)
    grown = long_life.grown(found)
    print_text(f"{2 * len(found)} runs; " + (f"grown: {'; '.join(grown)}" if grown else "nothing grew"))
    write_json(json, [asdict(each) for each in found])
    raise typer.Exit(UNEXPECTED_VERDICT if grown else OK)


@app.command("long-record")
def of_long_record(
    steps: Annotated[int, typer.Option(min=1, help="Steps of the generated run.")] = 1_000_000,
    json: JsonOption = None,
) -> None:
    """Read a run of a million steps with monitor and compare.

    Each command is a process of its own. From 64 MB of records on, a sample of them is read, and every training loss.
    """
    require_folder_of(json)
    found = list(long_record.measured(steps))
    rows = [(what, f"{seconds:.1f} s", f"{gigabytes * 1000:.0f} MB") for what, seconds, gigabytes in found]
    print_table(("command", "time", "memory"), rows)
    write_json(json, [{"command": what, "seconds": time, "gigabytes": memory} for what, time, memory in found])


def _in_silence(arguments: Sequence[str]) -> int:
    from cortexzoo.harness.cli import main

    with open(os.devnull, "w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
        return main(arguments)
