"""A verdict follows from the finding, the bound and its direction; the certificate reads back and speaks plainly."""

import io
import json
import math
from collections.abc import Iterable
from dataclasses import replace

import pytest
from rich.console import Console

from cortexzoo.harness.checking.effort import Effort
from cortexzoo.harness.checking.judge import judge, judge_all
from cortexzoo.harness.checking.properties.base import Case, DoesNotApply, Finding, Property
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.table import verdict_table
from cortexzoo.harness.checking.verdict import Certificate, Judgement
from cortexzoo.harness.tracking.jsonl import from_json_value, to_json_value
from cortexzoo.specs import SuiteSpec
from cortexzoo.specs.properties import PropertyName
from cortexzoo.specs.suite import Check
from tests.harness import tiny


def fixed(name: PropertyName, *observed: float) -> Property:
    """A property whose cases observe the given values, in this order."""

    def check(_: Subject, case: Case) -> Finding:
        value = observed[int(case["index"])]
        return Finding(value, f"observed {value}", case)

    def cases(_: Subject) -> Iterable[Case]:
        yield from ({"index": index} for index in range(len(observed)))

    return Property(name, check, cases)


@pytest.mark.parametrize(
    ("name", "observed", "verdict", "margin"),
    [
        ("causality", 0.0, "pass", 0.0),
        ("causality", 1e-30, "fail", -1e-30),
        ("causality", math.inf, "fail", -math.inf),
        ("causality", math.nan, "fail", -math.inf),
        ("gate_balance", 0.05, "pass", 0.0),
        ("gate_balance", 0.04, "fail", -0.01),
        ("gate_balance", math.nan, "fail", -math.inf),
        ("bounded_loss_ratio", 1.49, "pass", 0.01),
        ("bounded_loss_ratio", 1.5, "fail", 0.0),
        ("better_than_counting", -0.1, "pass", 0.1),
        ("better_than_counting", 0.0, "fail", 0.0),
    ],
)
def test_each_direction_of_a_bound(name: PropertyName, observed: float, verdict: str, margin: float) -> None:
    judgement = judge(fixed(name, observed), Check(), tiny.subject())
    assert judgement.verdict == verdict
    assert judgement.margin == pytest.approx(margin)


def test_the_first_failing_case_ends_the_trial_and_is_reported() -> None:
    judgement = judge(fixed("causality", 0.0, 0.3, 0.9), Check(), tiny.subject())
    assert (judgement.observed, judgement.case, judgement.cases_tried) == (0.3, {"index": 1}, 2)


@pytest.mark.parametrize(("observed", "verdict", "index"), [
    ((0.0, None, 0.3, None), "fail", 2),
    ((0.0, None, 0.0, None, 0.0), "error", 1),
    ((None,) * 20 + (0.3,), "error", 0),
])  # fmt: skip
def test_a_case_that_crashes_hides_none_that_fails(
    observed: tuple[float | None, ...], verdict: str, index: int
) -> None:
    def check(_: Subject, case: Case) -> Finding:
        value = observed[int(case["index"])]
        if value is None:
            raise ValueError(f"crash {case['index']}")
        return Finding(value, "observed", case)

    crashing = replace(fixed("causality", *[0.0] * len(observed)), check=check)
    judgement = judge(crashing, Check(), tiny.subject())
    assert (judgement.verdict, judgement.case) == (verdict, {"index": index})
    assert verdict == "fail" or f"crash {index}" in judgement.reason


def test_a_pass_reports_the_case_nearest_to_failing() -> None:
    judgement = judge(fixed("gate_balance", 0.3, 0.1, 0.2), Check(), tiny.subject())
    assert (judgement.observed, judgement.case, judgement.cases_tried) == (0.1, {"index": 1}, 3)


def test_a_pass_that_the_time_cut_short_says_so() -> None:
    no_time = Effort(seconds=0.0)
    cut = judge(fixed("causality", 0.0, 0.3), Check(), tiny.subject(), no_time)
    assert (cut.verdict, cut.cases_tried) == ("pass", 1)
    assert cut.reason == "observed 0.0; the time limit ended the search"
    assert judge(fixed("causality", 0.0), Check(), tiny.subject(), no_time).reason == "observed 0.0"


def test_the_suites_bound_replaces_the_propertys() -> None:
    judgement = judge(fixed("causality", 0.01), Check(bound=0.1), tiny.subject())
    assert (judgement.verdict, judgement.bound) == ("pass", 0.1)
    assert judgement.margin == pytest.approx(0.09)


@pytest.mark.parametrize(("expect", "unexpected"), [("pass", True), ("fail", False), ("skipped", True)])
def test_what_is_not_expected_is_a_surprise(expect: str, unexpected: bool) -> None:
    check = Check.model_validate({"expect": expect})
    assert judge(fixed("causality", 1.0), check, tiny.subject()).unexpected is unexpected


def test_a_property_without_cases_is_an_error() -> None:
    judgement = judge(fixed("causality"), Check(), tiny.subject())
    assert (judgement.verdict, judgement.reason) == ("error", "no case was tried")


@pytest.mark.parametrize("error", [ValueError("one\ntwo"), MemoryError()])
def test_a_crash_while_making_cases_is_an_error(error: Exception) -> None:
    def cases(_: Subject) -> Iterable[Case]:
        raise error

    judgement = judge(replace(fixed("causality"), cases=cases), Check(), tiny.subject())
    assert judgement.verdict == "error"
    assert type(error).__name__ in judgement.reason and "\n" not in judgement.reason


def test_what_does_not_apply_is_skipped_with_its_reason() -> None:
    def check(_: Subject, case: Case) -> Finding:
        raise DoesNotApply("no gate here")

    judgement = judge(replace(fixed("causality", 0.0), check=check), Check(expect="skipped"), tiny.subject())
    assert (judgement.verdict, judgement.reason, judgement.unexpected) == ("skipped", "no gate here", False)
    for may_skip in (False, True):
        judgement = judge(replace(fixed("causality", 0.0), check=check), Check(may_skip=may_skip), tiny.subject())
        assert (judgement.verdict, judgement.unexpected) == ("skipped", not may_skip)


def test_what_may_be_skipped_may_not_fail() -> None:
    judgement = judge(fixed("causality", 1.0), Check(may_skip=True), tiny.subject())
    assert (judgement.verdict, judgement.expected, judgement.unexpected) == ("fail", "pass", True)


def judgement(name: PropertyName = "causality", verdict: str = "pass", expected: str = "pass") -> Judgement:
    return Judgement(name, "clause", verdict, expected, 0.0, "at_most", "unit", "a reason", math.inf, -math.inf)  # type: ignore[arg-type]


def test_a_certificate_reads_back_equal() -> None:
    certificate = Certificate((judgement(), judgement("gate_balance", "fail")), {"seed": 3, "versions": {"torch": "2"}})
    written = json.dumps(to_json_value(certificate.as_json()), allow_nan=False)
    assert Certificate.from_json(from_json_value(json.loads(written))) == certificate
    assert json.loads(written)["properties"]["gate_balance"]["unexpected"] is True


def test_the_outcome_in_words() -> None:
    well = Certificate((judgement(), judgement("gate_balance", "fail", "fail")), {})
    assert well.outcome == "as expected"
    assert well.in_words() == (
        "1 of 2 properties hold; expected exceptions: gate_balance (fail). All verdicts as expected."
    )
    narrower = Certificate((judgement(), judgement("gate_balance", "skipped", "skipped")), {})
    assert narrower.in_words() == "1 of 1 properties hold; not applicable: gate_balance. All verdicts as expected."
    ill = Certificate((judgement(), judgement("gate_balance", "error")), {})
    assert ill.outcome == "unexpected"
    assert ill.in_words() == "1 of 2 properties hold. Not as expected: gate_balance is error instead of pass."


def test_the_suite_decides_what_is_tried_and_the_order_is_always_the_same() -> None:
    heard: list[str] = []
    suite = SuiteSpec(name="two", properties={"better_than_counting": Check(), "causality": Check()})
    certificate = judge_all(tiny.subject(), suite, {}, started=heard.append)
    assert heard == [j.name for j in certificate.judgements] == ["causality", "better_than_counting"]


def test_the_table_shows_every_column_and_marks_surprises() -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(verdict_table(Certificate((judgement(verdict="fail"), judgement("gate_balance")), {"run": "r1"})))
    text = console.export_text()
    for expected in ("causality", "fail !", "gate_balance", "inf", "≤ 0", "a reason"):
        assert expected in text
