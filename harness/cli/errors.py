"""Exit codes, and how a mistake or a failure is told: one line each on standard error, never a traceback."""

import sys

from typer import TyperException

from specs import SpecError

FINE = 0
UNEXPECTED_VERDICT = 1
BAD_INPUT = 2
COULD_NOT_GO_ON = 3
INTERRUPTED = 130


class BadInput(Exception):
    """Something the user gave cannot be used. The message is one line that says what is wrong and what would do."""


def lines_and_code(error: Exception) -> tuple[list[str], int] | None:
    """What to print for an error and which code to end with. None: it is a defect of this program."""
    if isinstance(error, SpecError):
        return error.lines, BAD_INPUT
    if isinstance(error, BadInput):
        return [str(error)], BAD_INPUT
    if isinstance(error, TyperException):
        message = " ".join(error.format_message().replace("Value error, ", "").split())
        return [f"{message} (--help shows how)"], BAD_INPUT
    if isinstance(error, OSError):
        return [f"could not go on: {' '.join(str(error).split())}"], COULD_NOT_GO_ON
    return _of_a_run(error)


def _of_a_run(error: Exception) -> tuple[list[str], int] | None:
    # Imported here: what only reads specs has no use for these.
    from harness.run_folder import RunFolderError
    from harness.tracking.base import RunStopped
    from zoo.data.errors import DataError
    from zoo.models.errors import BackboneError
    from zoo.training.errors import CheckpointError, SetupError, TrainingStopped

    if isinstance(error, (BackboneError, DataError, RunFolderError, SetupError)):
        return [str(error)], BAD_INPUT
    if isinstance(error, (CheckpointError, RunStopped, TrainingStopped)):
        return [str(error)], COULD_NOT_GO_ON
    return None


def tell(lines: list[str]) -> None:
    """Print to standard error."""
    for line in lines:
        print(line, file=sys.stderr)
