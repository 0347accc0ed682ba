"""Exit codes, and how an error is printed: one line for each mistake, never a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from cortexzoo.specs.errors import BAD_INPUT, FAILED, Failure, UserError

__all__ = [
    "BAD_INPUT",
    "FAILED",
    "INTERRUPTED",
    "OK",
    "UNEXPECTED_VERDICT",
    "BadInput",
    "Failure",
    "RunStopped",
    "UserError",
    "in_one_line",
    "lines_and_code",
    "tell",
    "told_in_lines",
]

OK = 0
UNEXPECTED_VERDICT = 1
INTERRUPTED = 130


class BadInput(UserError):
    """An argument or option that cannot be used."""


class RunStopped(Failure):
    """The run cannot continue: the disk is full, or its records cannot be written."""


def lines_and_code(error: Exception) -> tuple[list[str], int] | None:
    """What to print for an error and the exit code. None: it is a bug in cortexzoo."""
    if isinstance(error, UserError):
        return str(error).splitlines() or [type(error).__name__], error.exit_code
    if isinstance(error, OSError):
        return [f"error: {' '.join(str(error).split())}"], FAILED
    return None


@contextmanager
def told_in_lines() -> Iterator[None]:
    """For programs beside the command line: an error of the user ends them with its lines and exit code."""
    try:
        yield
    except Exception as error:
        told = lines_and_code(error)
        if told is None:
            raise
        tell(told[0])
        raise SystemExit(told[1]) from None


def tell(lines: list[str]) -> None:
    """Print to standard error."""
    for line in lines:
        print(line, file=sys.stderr)


def in_one_line(problem: BaseException) -> str:
    """An exception as `Type: first line of its message`."""
    lines = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {lines[0]}" if lines else type(problem).__name__
