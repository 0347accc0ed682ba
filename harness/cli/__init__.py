"""The command `cortexzoo`. A command's module is imported when it runs; torch and the like only where it needs them."""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, NoReturn

import typer

from cortexzoo import __version__
from cortexzoo.harness.cli.commands import LazyGroup
from cortexzoo.harness.cli.errors import FAILED, INTERRUPTED, OK, lines_and_code, tell
from cortexzoo.harness.cli.interrupts import noted_interrupts
from cortexzoo.harness.tracking.deadlines import leave

app = typer.Typer(
    name="cortexzoo",
    cls=LazyGroup,
    help="A model zoo with a test harness for language models that carry memory: specs in, verdicts out.",
    epilog="Start with `cortexzoo list`, then `cortexzoo train cortexgpt-stable`.",
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"cortexzoo {__version__}")
        raise typer.Exit


@app.callback()
def help_without_command(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Shown when no command is given."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code: 0 success, 1 an unexpected verdict, 2 bad input, 3 a failure."""
    with noted_interrupts() as interrupted:
        return _run(arguments, interrupted)


def program() -> NoReturn:
    """Run the command line, and end the process with its exit code."""
    leave(main())


def _run(arguments: Sequence[str] | None, interrupted: Callable[[], bool]) -> int:
    try:
        code = app(list(arguments) if arguments is not None else None, prog_name="cortexzoo", standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as ended:
        if isinstance(ended, SystemExit) and ended.code in (None, 0):
            return OK  # a shell asked for completions
        # The reader of our output has closed the pipe, which typer and rich turn into an exit with 1, our code for an
        # unexpected verdict. Flushing at exit would fail once more.
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
            tell(["This is a bug in cortexzoo: please report it with the lines above."])
            return FAILED
        lines, code = told
        tell(lines)
    return code if isinstance(code, int) else OK
