"""Trials of training itself meet what the recipe has: also a sleep."""

from typing import Any

import pytest

from cortexzoo.harness.checking.judge import judge_case
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.properties.trainer import resume_is_exact, short
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.restored import STATES
from cortexzoo.harness.runs.train import subject_of
from cortexzoo.specs import load_experiment
from cortexzoo.specs.sleep import NoSleep
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.training.policies.checkpointing import KeepCheckpoints
from cortexzoo.zoo.training.policies.guards.adagc import AdaGC
from cortexzoo.zoo.training.policies.guards.gates import FiniteGate
from cortexzoo.zoo.training.policies.guards.spikes import SpikeGuard
from cortexzoo.zoo.training.policies.guards.updates import UpdateGuard
from cortexzoo.zoo.training.policies.guards.zclip import ZClip
from cortexzoo.zoo.training.policies.measuring.validation import Validation
from cortexzoo.zoo.training.sleep.policy import Sleep
from cortexzoo.zoo.training.sleep.reservoir import Reservoir
from cortexzoo.zoo.training.state import snapshot
from tests.harness.checking.properties.planted import is_caught
from tests.harness.checking.properties.test_forward import experiment_of, untrained
from tests.harness.trained import small, train_small


@pytest.fixture(scope="module")
def sleeper(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    changes = "recipe.sleep={kind: noise, length: 8, every: 512}", "recipe.steps=4"
    return subject_of(train_small(tmp_path_factory.mktemp("runs"), *changes))


def test_a_few_steps_have_sleeps_where_the_recipe_has_them() -> None:
    sleep = short(load_experiment("cortex-v2-hybrid")).recipe.sleep
    assert sleep.kind == "noise" and sleep.every == 2
    assert short(small()).recipe.sleep == NoSleep()


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_run_that_sleeps_is_resumed_exactly(sleeper: Subject, stop: int) -> None:
    assert resume_is_exact(sleeper, {"stop": stop, "back": 0, "harder": False, "steps": 6}).observed == 0


def test_a_sleep_that_is_not_resumed_is_found(sleeper: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sleep, "load_state", lambda _sleep, _trainer, _values, _tensors: None)
    found = resume_is_exact(sleeper, {"stop": 3, "back": 0, "harder": False, "steps": 6})
    assert found.observed > 0 and found.reason.startswith("resumed after step 3: ")


@pytest.mark.parametrize(
    ("case", "owner", "function", "old", "new"),
    [
        ((4, 0, True, 4), Sleep, "state_dict", '"due": self.due', '"due": False'),
        ((4, 0, True, 4), snapshot, "load", 'description["refused"]', "0"),
        ((5, 4, False), snapshot, "_description", '"taken": trainer.taken', '"taken": trainer.position - 1'),
        ((3, 0, True), Reservoir, "from_tensors", 'int(tensors["seen"]) if "seen" in tensors else 0', "len(examples)"),
        ((3, 0, True), Validation, "load_state", 'values["loss"], values["best_loss"]', 'values["loss"], math.inf'),
    ],
)
def test_what_a_resumed_run_has_forgotten_is_found(
    case: tuple[Any, ...], owner: object, function: str, old: str, new: str
) -> None:
    stop, back, harder, *refused = case
    resumed = {"stop": stop, "back": back, "harder": harder, "refused": refused[0] if refused else 0, "steps": 6}
    subject = untrained(experiment_of("transformer"))
    assert resume_is_exact(subject, resumed).observed == 0
    assert is_caught(
        owner, function, old, new, lambda: judge_case(REGISTRY["resume_is_exact"], Check(), subject, resumed)
    )


@pytest.mark.parametrize("states", list(STATES))
def test_states_are_what_was_read(states: str) -> None:
    for subject in ("contexts", "transformer"):
        assert resume_is_exact(untrained(experiment_of(subject)), {"states": states}).observed == 0


@pytest.mark.parametrize(
    ("states", "owner", "function", "old", "new"),
    [
        ("robust", SpikeGuard, "load_state", 'self.in_a_row, self.new_levels = values["in_a_row"], ',
         "self.in_a_row, self.new_levels = 0, "),
        ("none", FiniteGate, "load_state", 'self.has_rolled_back = values["has_rolled_back"]', "pass"),
        ("robust", UpdateGuard, "state_dict", '"undone_at": self.undone_at', '"undone_at": 0'),
        ("average", AdaGC, "load_state", 'self.taken = values["taken"]', "pass"),
        ("robust", ZClip, "load_state", 'list(values["collected"])', "[]"),
        ("own", KeepCheckpoints, "load_state", 'values["last_saved"]', "0"),
        ("robust", Sleep, "load_state", 'values["due"]', "False"),
    ],
)  # fmt: skip
def test_a_value_that_is_not_read_is_found(states: str, owner: object, function: str, old: str, new: str) -> None:
    subject = untrained(experiment_of("transformer"))
    case = {"states": states}
    assert is_caught(owner, function, old, new, lambda: judge_case(REGISTRY["resume_is_exact"], Check(), subject, case))
