"""Exit codes, and how an error is printed: one line for each mistake, never a traceback."""

import re
import sys
import traceback
from errno import ENAMETOOLONG

from cortexzoo.specs.allowed_code import executed
from cortexzoo.specs.errors import BAD_INPUT, FAILED, Failure, UserError
from cortexzoo.specs.plain_text import bounded

__all__ = [
    "BAD_INPUT",
    "CLOSED_PIPE",
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
    "print_errors",
]

OK = 0
UNEXPECTED_VERDICT = 1
INTERRUPTED = 130
CLOSED_PIPE = 141
"""128 + SIGPIPE: the reader of the output has closed it."""

OUT_OF_MEMORY = re.compile(
    r"not enough memory|out of memory|can(?:'t|not) allocate memory|Storage size calculation overflowed"
    r"|integer multiplication overflow|std::bad_alloc"
    r"|failed to map segment"
)
"""How torch words it, on any device, and how the system's loader does."""


class BadInput(UserError):
    """An argument or option that cannot be used."""


class RunStopped(Failure):
    """The run cannot continue: the disk is full, or its records cannot be written."""


def lines_and_code(error: Exception) -> tuple[list[str], int] | None:
    """What to print for an error and the exit code. None: it is a bug in cortexzoo."""
    if isinstance(error, UserError):
        return str(error).splitlines() or [type(error).__name__], error.exit_code
    if isinstance(error, OSError):
        return [f"error: {' '.join(str(error).split())}"], BAD_INPUT if error.errno == ENAMETOOLONG else FAILED
    if isinstance(error, ValueError) and str(error).startswith("embedded null"):
        return ["error: a path contains a NUL character"], BAD_INPUT
    worded = isinstance(error, RuntimeError | ImportError) and OUT_OF_MEMORY.search(str(error))
    if worded or isinstance(error, MemoryError):
        return [f"error: out of memory: {(str(error).splitlines() or ['no more is available'])[0]}"], FAILED
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in executed]
    if own:
        return [f"{own[-1].filename}:{own[-1].lineno}: raised {in_one_line(error)}"], BAD_INPUT
    return None


def print_errors(lines: list[str]) -> None:
    """Print to standard error: plain lines, not too long and not too many."""
    for line in bounded(lines):
        print(line, file=sys.stderr)


def in_one_line(problem: BaseException) -> str:
    """An exception as `Type: first line of its message`."""
    lines = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {lines[0]}" if lines else type(problem).__name__
