"""From a command line to an exit code: whatever a command raises ends as lines on standard error."""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import typer

from cortexzoo.harness.cli.errors import CLOSED_PIPE, FAILED, INTERRUPTED, OK, lines_and_code, print_errors


def exit_code(command: Callable[..., Any], arguments: Sequence[str] | None, interrupted: Callable[[], bool]) -> int:
    """Call the command `cortexzoo` with these arguments; None: those of this process."""
    try:
        code = command(list(arguments) if arguments is not None else None, prog_name="cortexzoo", standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as ended:
        if isinstance(ended, SystemExit) and ended.code in (None, 0):
            return OK  # a shell asked for completions
        # The reader of our output has closed the pipe, which typer and rich turn into an exit with 1, our code for an
        # unexpected verdict. Flushing at exit would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except (KeyboardInterrupt, typer.Abort):
        print_errors(["interrupted"])
        return INTERRUPTED
    except Exception as error:
        if interrupted():
            # Such as the RecursionError of a library whose import was cut short.
            print_errors(["interrupted"])
            return INTERRUPTED
        described = lines_and_code(error)
        if described is None:
            traceback.print_exc()
            print_errors(["This is a bug in cortexzoo: please report it with the lines above."])
            return FAILED
        lines, code = described
        print_errors(lines)
    return code if isinstance(code, int) else OK
