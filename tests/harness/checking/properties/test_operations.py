"""A state machine over everything that is done to a model in training, and what each operation is held to."""

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cortexzoo.harness.checking.mutants.training_mutants import TRAINING_MUTANTS
from cortexzoo.harness.checking.properties.operations import MOST_OPERATIONS, Session, any_order_works
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.runs.train import subject_of
from tests.harness.trained import train_small

SUBJECT: list[Subject] = []
"""Trained once, on first use: a state machine takes no arguments."""


def subject() -> Subject:
    if not SUBJECT:
        with tempfile.TemporaryDirectory() as folder:
            SUBJECT.append(subject_of(train_small(Path(folder), "recipe.steps=4")))
    return SUBJECT[0]


class Operations(RuleBasedStateMachine):
    """Any operation at any time; after each, the session is sound and no step was lost."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.session = Session(subject(), Path(self.folder.name))
        self.attempted = 0
        self.saved_at: int | None = None

    @precondition(lambda self: self.attempted < MOST_OPERATIONS)
    @rule()
    def train(self) -> None:
        self.attempted += 1
        assert self.session.train() == []

    @precondition(lambda self: self.attempted < MOST_OPERATIONS)
    @rule()
    def fault(self) -> None:
        self.attempted += 1
        assert self.session.fault() == []

    @rule()
    def evaluate(self) -> None:
        assert self.session.evaluate() == []

    @rule()
    def consolidate(self) -> None:
        assert self.session.consolidate() == []

    @rule()
    def reset(self) -> None:
        assert self.session.reset() == []

    @rule()
    def save(self) -> None:
        self.saved_at = self.attempted
        assert self.session.save() == []

    @precondition(lambda self: self.saved_at is not None)
    @rule()
    def load(self) -> None:
        assert self.saved_at is not None
        self.attempted = self.saved_at
        assert self.session.load() == []

    @invariant()
    def sound(self) -> None:
        assert self.session.broken() == []
        assert self.session.trainer.position == self.attempted

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


Operations.TestCase.settings = settings(
    max_examples=5, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
)
test_operations_in_any_order = Operations.TestCase


def broken_by(operations: str) -> str:
    return any_order_works(subject(), {"operations": operations}).reason


def test_a_step_after_which_it_sleeps_is_a_step(tmp_path: Path) -> None:
    sleeping = subject_of(train_small(tmp_path, "recipe.steps=4", "recipe.sleep={kind: noise, length: 8, every: 512}"))
    found = any_order_works(sleeping, {"operations": "train train fault train"})
    assert found.observed == 0, found.reason


def test_memory_that_is_not_finite_is_found(tmp_path: Path) -> None:
    session = Session(subject(), tmp_path)
    session.train()
    state = session.trainer.memory
    tensors = {name: tensor.clone() for name, tensor in state.tensors().items()}
    tensors["short_term.keys"][0, 0, 0] = torch.nan
    session.trainer.memory = type(state).from_tensors(tensors)
    assert session.broken() == ["memory short_term.keys is not finite"]


def test_what_evaluating_writes_is_found(tmp_path: Path) -> None:
    session = Session(subject(), tmp_path)
    model = session.trainer.model

    def write(*_: object) -> None:
        next(model.parameters()).data.add_(1.0)

    model.register_forward_hook(write)
    assert session.evaluate()[0].startswith("evaluating changed weight ")


@pytest.mark.parametrize("operation", ["train", "fault", "evaluate", "save", "load"])
def test_an_operation_that_raises_is_a_failure_that_names_it(monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    def raising(self: Session) -> list[str]:
        raise RuntimeError("no more")

    monkeypatch.setattr(Session, operation, raising)
    found = any_order_works(subject(), {"operations": f"reset {operation} reset"})
    assert found.observed == 1 and found.case["number"] == 2
    assert found.reason == f"operation 2, {operation}: it raised RuntimeError: no more"


def test_a_defect_that_only_an_order_shows_is_found() -> None:
    (mutant,) = [mutant for mutant in TRAINING_MUTANTS if mutant.name == "gate-lost-on-loading"]
    with mutant.seeded():
        assert "every operation" in broken_by("train save fault train")
        assert "operation 4, fault:" in broken_by("train save load fault")
