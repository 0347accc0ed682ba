"""The command `cortexzoo`. A command's module is imported when it runs; torch and the like only where it needs them."""

import os
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from cortexzoo import __version__
from cortexzoo.harness.cli.commands import LazyGroup
from cortexzoo.harness.cli.interrupts import noted_interrupts
from cortexzoo.harness.cli.output import set_wide
from cortexzoo.harness.cli.running import exit_code
from cortexzoo.harness.tracking.deadlines import leave
from cortexzoo.zoo.ops.kernel_choice import asked_for

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
    """Shown when no command is given. Raises `SetupError` unless CORTEXZOO_KERNELS is 0, 1 or empty."""
    asked_for()
    if context.invoked_subcommand is None:
        print(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code: 0 success, 1 an unexpected verdict, 2 bad input, 3 a failure."""
    try:
        with noted_interrupts() as interrupted:
            return exit_code(app, arguments, interrupted)
    finally:
        set_wide(False)  # `--wide` is of one command, also where a program calls several


def program() -> NoReturn:
    """Run the command line, and end the process with its exit code."""
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # torch reads it once; its warnings are for developers
    leave(main())
