"""`own_loop_follows_its_guards`: passes as it is, and finds a mistake in whatever the guards of a loop do."""

from functools import cache

import pytest

from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.mutants.own_loop_mutants import OWN_LOOP_MUTANTS
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs import load_experiment
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.training.own_loop import LoopGuard
from tests.harness.checking.properties.planted import is_caught
from tests.harness.checking.properties.test_forward import SMALL, SUBJECTS, untrained
from tests.quick import every

PROPERTY = REGISTRY["own_loop_follows_its_guards"]
BASE, CHANGES = SUBJECTS["two raw rings"]


@cache
def subject(*changes: str) -> Subject:
    return untrained(load_experiment(BASE, [*SMALL, *CHANGES, *changes]))


def judged() -> Judgement:
    return judge(PROPERTY, Check(), subject())


@pytest.mark.parametrize(
    "change",
    every(
        4,
        [
            "recipe.clipping={kind: none}",
            *(f"recipe.clipping={{kind: {kind}}}" for kind in ("norm", "adaptive", "zclip", "adagc", "agc")),
            "recipe.spikes={kind: none}",
            "recipe.spikes={kind: average_ratio, window: 3, min_history: 3}",
            "recipe.recovery={kind: none}",
            "recipe.recovery={kind: checkpoints, every: 1, storm_limit: 1}",
        ],
    ),
)
def test_what_a_recipe_may_ask_for_is_not_accused(change: str) -> None:
    judgement = judge(PROPERTY, Check(), subject(change))
    assert judgement.verdict == "pass", judgement.reason
    assert judgement.cases_tried == 8


@pytest.mark.slow
@pytest.mark.parametrize("mutant", OWN_LOOP_MUTANTS, ids=lambda mutant: mutant.name)
def test_each_mutant_is_caught(mutant: object) -> None:
    with mutant.seeded():  # type: ignore[attr-defined]
        judgement = judged()
    assert judgement.verdict == "fail", judgement.reason


@pytest.mark.parametrize(
    ("function", "old", "new"),
    every(3, [
        ("step", 'step.metrics["stability/spike_recoveries"] = self.rollbacks', "pass"),
        ("step", "self.recorder.metrics(self.number, step.metrics)", "pass"),
        ("step", 'self.event("step_refused", {"reason": step.refused})', "pass"),
        ("step", "self.number += 1", "self.number += 2"),
        ("step", 'self._notify("batch_ready", step)', "pass"),
        ("step", 'step.metrics["train/gradient_norm"] = step.gradient_norm', "pass"),
        ("step", " or self._outgrown()", ""),
        ("step", "rolled_back = self._renew()", "self._keep()"),
        ("_roll_back", "TrainingStopped(self.number, storm)", "TrainingStopped(self.taken, storm)"),
        ("step", 'self._ask("loss_known", step)', "pass"),
        ("step", 'self._ask("gradients_known", step)', "pass"),
        ("_roll_back", "tensor.copy_(then.tensors[name])", "pass"),
        ("_roll_back", "policy.rolled_back(cast(Any, self))", "pass"),
        ("_roll_back", "self.taken - then.taken, then.taken", "self.taken - then.taken, self.taken"),
        ("_roll_back", '{"cause": cause, "undone": undone}', '{"cause": cause, "undone": undone + 1}'),
        ("_roll_back", "if at > first] + [self.number]", "if at > first]"),
        ("_roll_back", "if at > first]", "if at >= first]"),
        ("load_state_dict", "policy.load_state(cast(Any, self), state[\"policies\"][policy.name], {})", "pass"),
        ("load_state_dict", "self._keep()", "pass"),
        ("_guarded_step", "self._observed, []", "self._observed, self._observed"),
        ("_now", "tensor.detach().clone()", "tensor.detach()"),
        ("_now", "copy.deepcopy(self.optimizer.state_dict())", "self.optimizer.state_dict()"),
    ]),
)  # fmt: skip
def test_a_planted_change_is_caught(function: str, old: str, new: str) -> None:
    assert is_caught(LoopGuard, function, old, new, judged)
