"""Reports of a module's process count only where they fit the check's own list."""

from pathlib import Path
from typing import Any

import pytest

from cortexzoo.harness.checking.modules.account import Account, Found
from cortexzoo.harness.checking.modules.channel import Tampered
from cortexzoo.harness.checking.modules.errors import ModuleError
from cortexzoo.harness.checking.modules.loading import Reference
from cortexzoo.harness.checking.modules.request import Request
from cortexzoo.specs import SuiteSpec
from cortexzoo.specs.properties import PropertyName
from cortexzoo.specs.suite import Check

NAMES: list[PropertyName] = ["causality", "determinism"]
START: list[tuple[str, Any]] = [
    ("started", 1),
    ("prepared", None),
    ("ready", {"inputs": {"kind": "vectors", "size": 8}, "parameters": 72}),
]
BEGUN: list[tuple[str, Any]] = [*START, ("begun", "causality"), ("case", {"length": 2})]


def account() -> tuple[Account, Found]:
    suite = SuiteSpec(name="two", properties={name: Check() for name in NAMES})
    found = Found()
    request = Request(Reference(Path("module.py"), "make"), suite)
    return Account(request, found, list(NAMES), lambda _: None), found


def judged(**changes: object) -> tuple[str, Any]:
    plain = {"name": "causality", "verdict": "pass", "observed": 0.0, "reason": "it did", "case": {}, "cause": {}}
    plain |= {"cases_tried": 1}
    return ("judged", {**plain, "seconds": 0.1, **changes})


def test_a_property_counts_once_its_control_failed() -> None:
    events, found = account()
    for event in [*BEGUN, judged()]:
        events.take(*event)
    assert found.judgements == {}
    events.take("control", "fail")
    assert found.judgements["causality"].verdict == "pass" and events.waiting == ["determinism"]


@pytest.mark.parametrize("verdict", ["pass", "skipped"])
def test_a_planted_defect_that_is_not_found_makes_an_error(verdict: str) -> None:
    events, found = account()
    for event in [*BEGUN, judged(), ("control", verdict)]:
        events.take(*event)
    assert found.judgements["causality"].verdict == "error"
    assert "planted defect" in found.judgements["causality"].reason


@pytest.mark.parametrize(
    ("before", "event"),
    [
        ([], START[1]),
        (START[:2], ("begun", "causality")),
        (START, START[2]),
        (START, judged()),
        (START, ("begun", "determinism")),
        (START, ("begun", "linear_time")),
        (START[:2], ("ready", {"inputs": {"kind": "vectors", "size": 8}, "parameters": "many"})),
        (START[:2], ("ready", [[[[]]]])),
        (START[:2], ("refused", 3)),
        ([*START, ("begun", "causality")], judged()),
        (BEGUN, judged(name="determinism")),
        (BEGUN, judged(observed=1.0)),
        (BEGUN, judged(observed=None)),
        (BEGUN, judged(observed=float("nan"))),
        (BEGUN, judged(verdict="fail")),
        (BEGUN, judged(verdict="fine")),
        (BEGUN, judged(cases_tried=2)),
        (BEGUN, judged(bound=1e9)),
        (BEGUN, judged(case={"length": [1]})),
        (BEGUN, ("control", "fail")),
        (BEGUN, ("case", "all")),
        (BEGUN, ("anything", None)),
        ([*BEGUN, judged()], ("begun", "determinism")),
        ([*BEGUN, judged(verdict="error", observed=None)], ("control", "fail")),
    ],
)
def test_an_event_that_does_not_fit_is_refused(before: list[tuple[str, Any]], event: tuple[str, Any]) -> None:
    events, _ = account()
    for earlier in before:
        events.take(*earlier)
    with pytest.raises(Tampered):
        events.take(*event)


def test_words_of_a_module_are_one_plain_line() -> None:
    events, found = account()
    for event in [*BEGUN, judged(verdict="error", observed=None, reason="\x1b[31m\n" + "x" * 5000)]:
        events.take(*event)
    reason = found.judgements["causality"].reason
    assert reason.isprintable() and len(reason) <= 600
    other, _ = account()
    for event in START[:2]:
        other.take(*event)
    with pytest.raises(ModuleError) as refused:
        other.take("refused", "\u202egone\n")
    assert str(refused.value).isprintable()
