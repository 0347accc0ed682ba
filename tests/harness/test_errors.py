"""Each error of a user ends with its exit code, in one line; anything else is a bug."""

from importlib import import_module

import pytest

from cortexzoo.harness.errors import BAD_INPUT, FAILED, UserError, lines_and_code
from cortexzoo.specs import SpecError

CODES = {
    "harness.checking.modules.errors.ModuleError": BAD_INPUT,
    "harness.errors.BadInput": BAD_INPUT,
    "harness.errors.RunStopped": FAILED,
    "harness.parallel.slurm.JobFailed": FAILED,
    "harness.parallel.slurm.ScheduleError": BAD_INPUT,
    "harness.parallel.train_missing.StoppedEarly": FAILED,
    "harness.parallel.workers.ProcessLost": FAILED,
    "harness.regression.regression.CommittedError": BAD_INPUT,
    "harness.regression.replay.ReplayError": BAD_INPUT,
    "harness.runs.prompt.PromptError": BAD_INPUT,
    "harness.runs.run_folder.RunFolderError": BAD_INPUT,
    "harness.runs.streaming.SessionError": BAD_INPUT,
    "harness.studies.comparison.contenders.Incomparable": BAD_INPUT,
    "harness.tracking.aim.sink.AimError": FAILED,
    "zoo.errors.DataError": BAD_INPUT,
    "zoo.errors.NonFiniteLogits": FAILED,
    "zoo.errors.BackboneError": BAD_INPUT,
    "zoo.errors.CheckpointError": FAILED,
    "zoo.errors.SetupError": BAD_INPUT,
    "zoo.errors.TrainingStopped": FAILED,
}


@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_each_error_has_its_exit_code(name: str, code: int) -> None:
    module, _, kind = f"cortexzoo.{name}".rpartition(".")
    raised = getattr(import_module(module), kind)
    assert issubclass(raised, UserError)
    assert lines_and_code(raised.__new__(raised, "one line")) == (["one line"], code)


def test_each_mistake_in_a_spec_is_a_line() -> None:
    assert lines_and_code(SpecError(["a.yaml:1:1: one", "a.yaml:2:1: two"])) == (
        ["a.yaml:1:1: one", "a.yaml:2:1: two"],
        BAD_INPUT,
    )


def test_an_error_of_the_system_is_a_failure() -> None:
    assert lines_and_code(OSError(28, "No space left on device")) == (
        ["error: [Errno 28] No space left on device"],
        FAILED,
    )


def test_anything_else_is_a_bug() -> None:
    assert lines_and_code(RuntimeError("no idea")) is None


@pytest.mark.parametrize(
    "words", ["std::bad_alloc", "numel: integer multiplication overflow", "Storage size calculation overflowed"]
)
def test_sizes_that_no_memory_has_are_out_of_memory(words: str) -> None:
    assert lines_and_code(RuntimeError(words)) == ([f"error: out of memory: {words}"], 3)
    assert lines_and_code(RuntimeError("another")) is None
