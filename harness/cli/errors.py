"""Exit codes, and errors as lines on standard error instead of tracebacks."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from typer import TyperException

OK = 0
UNEXPECTED_VERDICT = 1
BAD_INPUT = 2
FAILED = 3
INTERRUPTED = 130


RUN_ERRORS = {
    "cortexzoo.harness.checking.modules.errors.ModuleError": BAD_INPUT,
    "cortexzoo.harness.regression.regression.CommittedError": BAD_INPUT,
    "cortexzoo.harness.regression.replay.ReplayError": BAD_INPUT,
    "cortexzoo.harness.studies.comparison.contenders.Incomparable": BAD_INPUT,
    "cortexzoo.harness.parallel.workers.ProcessLost": FAILED,
    "cortexzoo.harness.runs.prompt.PromptError": BAD_INPUT,
    "cortexzoo.harness.runs.run_folder.RunFolderError": BAD_INPUT,
    "cortexzoo.harness.runs.streaming.SessionError": BAD_INPUT,
    "cortexzoo.harness.parallel.slurm.JobFailed": FAILED,
    "cortexzoo.harness.parallel.slurm.ScheduleError": BAD_INPUT,
    "cortexzoo.harness.tracking.aim.sink.AimError": FAILED,
    "cortexzoo.harness.tracking.base.RunStopped": FAILED,
    "cortexzoo.harness.parallel.train_missing.StoppedEarly": FAILED,
    "cortexzoo.specs.errors.SpecError": BAD_INPUT,
    "cortexzoo.zoo.errors.DataError": BAD_INPUT,
    "cortexzoo.zoo.errors.NonFiniteLogits": FAILED,
    "cortexzoo.zoo.errors.BackboneError": BAD_INPUT,
    "cortexzoo.zoo.errors.CheckpointError": FAILED,
    "cortexzoo.zoo.errors.SetupError": BAD_INPUT,
    "cortexzoo.zoo.errors.TrainingStopped": FAILED,
}
"""Exit codes by the full name of the error: importing some of them would import torch."""


class BadInput(Exception):
    """The user's input cannot be used. The message is one line with the mistake and the fix."""


def lines_and_code(error: Exception) -> tuple[list[str], int] | None:
    """The lines and the exit code for an error. None: it is a bug in this program."""
    if isinstance(error, BadInput):
        return [str(error)], BAD_INPUT
    if isinstance(error, TyperException):
        message = " ".join(error.format_message().replace("Value error, ", "").split())
        return [f"{message} (see --help)"], BAD_INPUT
    if isinstance(error, OSError):
        return [f"error: {' '.join(str(error).split())}"], FAILED
    code = next(
        (code for kind in type(error).__mro__ if (code := RUN_ERRORS.get(f"{kind.__module__}.{kind.__name__}"))), None
    )
    return None if code is None else (str(error).splitlines() or [""], code)


@contextmanager
def told_in_lines() -> Iterator[None]:
    """For programs beside the command line: an expected error ends them with its lines and exit code."""
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
