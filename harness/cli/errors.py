"""Errors of the command line: those of the harness, and those of typer."""

from typer import TyperException

from cortexzoo.harness import errors
from cortexzoo.harness.errors import (
    BAD_INPUT,
    CLOSED_PIPE,
    FAILED,
    INTERRUPTED,
    OK,
    UNEXPECTED_VERDICT,
    BadInput,
    print_errors,
)

__all__ = [
    "BAD_INPUT",
    "CLOSED_PIPE",
    "FAILED",
    "INTERRUPTED",
    "OK",
    "UNEXPECTED_VERDICT",
    "BadInput",
    "lines_and_code",
    "print_errors",
]


def lines_and_code(error: Exception) -> tuple[list[str], int] | None:
    """What to print for an error and the exit code. None: it is a bug in cortexzoo."""
    if isinstance(error, TyperException):
        message = " ".join(error.format_message().replace("Value error, ", "").split())
        return [f"{message} (see --help)"], BAD_INPUT
    return errors.lines_and_code(error)
