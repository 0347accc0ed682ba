"""Profiles say how many cases are searched; dev and ci search the same each time, deep others."""

import math
import time

import pytest

from cortexzoo.harness.checking.effort import LEAST_SHARE, PROFILES, Effort, Shares
from cortexzoo.harness.checking.judge import judge, judge_case
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.specs.suite import Check
from tests.harness import tiny


def test_dev_and_ci_try_the_same_each_time_and_deep_does_not() -> None:
    for name in ("dev", "ci"):
        effort = PROFILES[name].effort()  # type: ignore[index]
        assert effort == PROFILES[name].effort()  # type: ignore[index]
        assert effort.seconds == math.inf, "what is tried must not depend on the machine"
    assert PROFILES["deep"].effort().seed != PROFILES["deep"].effort().seed
    assert PROFILES["deep"].effort(budget=30.0).seconds == 30.0
    examples = [profile.examples for profile in PROFILES.values()]
    assert 0 < examples[0] < examples[1] < examples[2]


def test_time_that_one_property_leaves_goes_to_those_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    shares = Shares(60.0, 3)
    assert shares.next() == pytest.approx(20.0)
    now += 2.0
    assert shares.next() == pytest.approx(29.0)
    now += 100.0
    assert shares.next() == LEAST_SHARE
    assert Shares(math.inf, 2).next() == math.inf


@pytest.mark.parametrize("dearness_of", ["causality", "determinism"])
def test_a_search_adds_to_the_listed_cases(dearness_of: str) -> None:
    entry = REGISTRY[dearness_of]  # type: ignore[index]
    subject = tiny.subject()
    listed = len(list(entry.cases(subject)))
    tried = judge(entry, Check(), subject, Effort(8)).cases_tried
    assert listed < tried <= listed + math.ceil(8 / entry.cost)


def test_what_only_a_search_meets_is_shrunk_and_can_be_tried_again() -> None:
    subject = tiny.subject(tiny.AcausalFrom70())
    entry = REGISTRY["causality"]
    assert judge(entry, Check(), subject).verdict == "pass"
    found = judge(entry, Check(), subject, Effort(100))
    assert found.verdict == "fail" and found.case["length"] == 70
    again = judge_case(entry, Check(), subject, found.case)
    assert (again.verdict, again.observed) == ("fail", found.observed)
