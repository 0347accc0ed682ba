"""`intervals_are_kept`: passes as it is, and finds what a training of a single step leaves out."""

from functools import cache

import pytest

from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs import load_experiment
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.training.policies.checkpointing import KeepCheckpoints
from tests.harness.checking.properties.planted import is_caught
from tests.harness.checking.properties.test_forward import SMALL, untrained


@cache
def subject() -> Subject:
    return untrained(load_experiment("cortexgpt-stable", [*SMALL, "variant.memory.long_term={kind: raw_ring}"]))


def judged() -> Judgement:
    return judge(REGISTRY["intervals_are_kept"], Check(), subject())


def test_it_passes_as_it_is() -> None:
    judgement = judged()
    assert judgement.verdict == "pass" and judgement.cases_tried == 5, judgement.reason


@pytest.mark.parametrize(
    ("function", "old", "new"),
    [
        ("__init__", "self._last_saved = 0", "self._last_saved = 1"),
        ("phase_ended", "self._last_saved != trainer.position", "self._last_saved > trainer.position"),
        ("step_taken", "== step.number:\n        ", "== step.number > 1:\n        "),
    ],
)
def test_what_is_saved_after_one_step_counts(function: str, old: str, new: str) -> None:
    assert is_caught(KeepCheckpoints, function, old, new, judged)
