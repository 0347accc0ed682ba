"""From findings to verdicts: is each property within its bound, and is that what the suite expects?"""

import math
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from harness.properties import REGISTRY
from harness.properties.base import Case, DoesNotApply, Finding, Property
from harness.subject import Subject
from harness.tracking.base import in_one_line
from specs import SuiteSpec
from specs.suite import PROPERTIES, Check, PropertyName, Verdict

Outcome = Literal["as expected", "surprise"]


@dataclass(frozen=True)
class Judgement:
    """The verdict on one property. `margin` is how far `observed` lies inside its bound; negative: outside."""

    name: PropertyName
    clause: str
    verdict: Verdict
    expected: Verdict
    bound: float
    direction: Literal["at_most", "at_least", "below"]
    unit: str
    reason: str
    observed: float | None = None
    margin: float | None = None
    case: Case = field(default_factory=dict)
    """The smallest failing case, or the one that came nearest to failing."""
    foreseen: str = ""
    """Why the suite expects another verdict than `pass`."""
    cases_tried: int = 0
    seconds: float = 0.0

    @property
    def surprise(self) -> bool:
        """The verdict is not the one that the suite expects."""
        return self.verdict != self.expected


@dataclass(frozen=True)
class Certificate:
    """All verdicts on one run, with what is needed to obtain them again: the content of `verdict.json`."""

    judgements: tuple[Judgement, ...]
    circumstances: Mapping[str, Any]
    """Experiment, spec hash, seed, checkpoint, versions, platform."""

    @property
    def surprises(self) -> list[Judgement]:
        """Every judgement whose verdict is not the expected one."""
        return [judgement for judgement in self.judgements if judgement.surprise]

    @property
    def outcome(self) -> Outcome:
        """`as expected` when every verdict equals the suite's expectation."""
        return "surprise" if self.surprises else "as expected"

    def as_json(self) -> dict[str, Any]:
        """JSON values, judgements by property name."""
        properties = {}
        for judgement in self.judgements:
            entry = asdict(judgement)
            name = entry.pop("name")
            properties[name] = {**entry, "surprise": judgement.surprise}
        return {"outcome": self.outcome, **self.circumstances, "properties": properties}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Certificate":
        """The inverse of `as_json`. Raises `KeyError` or `TypeError` for anything else."""
        judgements = []
        for name, entry in content["properties"].items():
            judgements.append(Judgement(name, **{key: v for key, v in entry.items() if key != "surprise"}))
        circumstances = {key: v for key, v in content.items() if key not in ("outcome", "properties")}
        return cls(tuple(judgements), circumstances)

    def in_words(self) -> str:
        """The result as one or a few sentences."""
        held = sum(judgement.verdict == "pass" for judgement in self.judgements)
        foreseen = [f"{j.name} ({j.verdict})" for j in self.judgements if j.verdict != "pass" and not j.surprise]
        parts = [f"{held} of {len(self.judgements)} properties hold"]
        if foreseen:
            parts.append(f"the suite foresees that these do not: {', '.join(foreseen)}")
        if not self.surprises:
            return "; ".join(parts) + ". Every verdict is the expected one."
        told = ", ".join(f"{j.name} is {j.verdict} instead of {j.expected}" for j in self.surprises)
        return "; ".join(parts) + f". Not as expected: {told}."


def bound_of(name: PropertyName, suite: SuiteSpec) -> float:
    """The bound that a suite holds a property to: its own, or else the property's."""
    return _bound(name, suite.properties.get(name))


def judge_all(
    subject: Subject,
    suite: SuiteSpec,
    circumstances: Mapping[str, Any],
    *,
    started: Callable[[PropertyName], None] = lambda _: None,
) -> Certificate:
    """Try every property of the suite; `started` hears the name of each before it is tried."""
    judgements = []
    for name, check in suite.properties.items():
        started(name)
        judgements.append(judge(REGISTRY[name], check, subject))
    return Certificate(tuple(judgements), circumstances)


def judge(tested: Property, check: Check, subject: Subject) -> Judgement:
    """Try the cases in their order up to the first failing one; of passing ones the nearest to failing is reported.

    A crash inside the check is the verdict `error`, with the line that raised: it says nothing about the property.
    """
    info = PROPERTIES[tested.name]
    bound = _bound(tested.name, check)
    judgement = Judgement(
        tested.name, info.clause, "error", check.expect, bound, info.direction, info.unit, "no case was tried",
        foreseen=check.reason,
    )  # fmt: skip
    began = time.perf_counter()
    case: Case = {}
    try:
        for tried, case in enumerate(tested.cases(subject), start=1):
            found = tested.check(subject, case)
            margin = _margin(found, bound, info.direction)
            if judgement.margin is None or margin <= judgement.margin:
                judgement = _noted(judgement, found, margin)
            judgement = replace(judgement, cases_tried=tried)
            if judgement.verdict == "fail":
                break
    except DoesNotApply as excuse:
        judgement = _without_finding(judgement, "skipped", str(excuse), {})
    except Exception as crash:
        judgement = _without_finding(judgement, "error", f"the check crashed: {_where(crash)}", case)
    return replace(judgement, seconds=round(time.perf_counter() - began, 3))


def _bound(name: PropertyName, check: Check | None) -> float:
    return PROPERTIES[name].bound if check is None or check.bound is None else check.bound


def _noted(judgement: Judgement, found: Finding, margin: float) -> Judgement:
    holds = margin > 0 if judgement.direction == "below" else margin >= 0
    return replace(
        judgement,
        verdict="pass" if holds else "fail",
        reason=found.reason,
        observed=found.observed,
        margin=margin,
        case=dict(found.case),
    )


def _without_finding(judgement: Judgement, verdict: Verdict, reason: str, case: Case) -> Judgement:
    return replace(judgement, verdict=verdict, reason=reason, case=dict(case), observed=None, margin=None)


def _margin(found: Finding, bound: float, direction: str) -> float:
    inside = found.observed - bound if direction == "at_least" else bound - found.observed
    return -math.inf if math.isnan(inside) else inside


def _where(crash: Exception) -> str:
    frame = traceback.extract_tb(crash.__traceback__)[-1]
    return f"{in_one_line(crash)} ({Path(frame.filename).name}:{frame.lineno})"
