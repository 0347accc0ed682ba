"""The command `cortexzoo`. Modules of commands import torch and the like only inside the commands that need them."""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

import typer

from cortexzoo.harness.cli import (
    aim_commands,
    check_commands,
    compare_commands,
    drill_commands,
    export_command,
    generate_command,
    monitor_commands,
    mutant_commands,
    regression_commands,
    run_commands,
    spec_commands,
    stream_command,
    study_commands,
)
from cortexzoo.harness.cli.errors import FAILED, INTERRUPTED, OK, lines_and_code, tell
from cortexzoo.harness.cli.interrupts import noted_interrupts
from cortexzoo.harness.tracking.deadlines import leave

app = typer.Typer(
    name="cortexzoo",
    help="A model zoo with a test harness for language models that carry memory: specs in, verdicts out.",
    epilog="Begin with `cortexzoo list`, then `cortexzoo train cortexgpt-stable`.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def help_without_command(context: typer.Context) -> None:
    """Shown when no command is given."""
    if context.invoked_subcommand is None:
        print(context.get_help())


app.command("list")(spec_commands.list_specs)
app.command("show")(spec_commands.show)
app.command("validate")(spec_commands.validate)
app.command("schema")(spec_commands.schema)
app.command("new")(spec_commands.new)
app.command("train")(run_commands.train)
app.command("check")(check_commands.check)
app.command("replay")(check_commands.replay)
app.command("generate")(generate_command.generate)
app.command("export")(export_command.export)
app.command("stream")(stream_command.stream)
app.command("mutants")(mutant_commands.mutants)
app.command("regression")(regression_commands.regression)
app.command("drill")(drill_commands.drill)
app.command("frontier")(study_commands.frontier)
app.command("ablate")(study_commands.ablate)
app.command("compare")(compare_commands.compare)
app.command("aim-sync")(aim_commands.aim_sync)
app.command("monitor")(monitor_commands.monitor)
app.command("sweep")(compare_commands.sweep)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code: 0 fine, 1 a verdict differs, 2 bad input, 3 could not go on."""
    with noted_interrupts() as interrupted:
        return _run(arguments, interrupted)


def program() -> NoReturn:
    """Run the command line, and end the process with its exit code."""
    leave(main())


def _run(arguments: Sequence[str] | None, interrupted: Callable[[], bool]) -> int:
    try:
        code = app(list(arguments) if arguments is not None else None, prog_name="cortexzoo", standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        # The reader of our output has gone, which typer and rich turn into an exit with 1, our code for a verdict that
        # differs. Nothing may be flushed to it any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (KeyboardInterrupt, typer.Abort):
        tell(["interrupted"])
        return INTERRUPTED
    except Exception as error:
        if interrupted():
            # Such as the RecursionError of a library whose import was cut short.
            tell(["interrupted"])
            return INTERRUPTED
        told = lines_and_code(error)
        if told is None:
            traceback.print_exc()
            tell(["This is a defect of cortexzoo, not of your input: please report it with the lines above."])
            return FAILED
        lines, code = told
        tell(lines)
    return code if isinstance(code, int) else OK
