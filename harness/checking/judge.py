"""From findings to verdicts: is each property within its bound, and is that what the suite expects?"""

import math
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Generic

from cortexzoo.harness.checking.effort import Effort, Shares
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.properties.base import Case, DoesNotApply, Finding, Property, SubjectT
from cortexzoo.harness.checking.search import Clock, Result, search
from cortexzoo.harness.checking.shrinking import shrink
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.verdict import Certificate, Judgement
from cortexzoo.harness.errors import in_one_line
from cortexzoo.specs import SuiteSpec
from cortexzoo.specs.suite import PROPERTIES, PROPERTY_NAMES, Check, PropertyName, Verdict
from cortexzoo.zoo.training.signals import signals_left_alone

Watch = Callable[[Case], None]
NO_SEARCH = Effort()
LISTED = 0.7
"""Of a property's time, for its listed cases; the search gets the rest."""
LIBRARIES = ("site-packages", "dist-packages")


def bound_of(name: PropertyName, suite: SuiteSpec) -> float:
    """The bound that a suite holds a property to: its own, or else the property's."""
    return _bound(name, suite.properties.get(name))


def judge_all(
    subject: Subject,
    suite: SuiteSpec,
    circumstances: Mapping[str, Any],
    *,
    started: Callable[[PropertyName], None] = lambda _: None,
    effort: Effort = NO_SEARCH,
    watch: Watch = lambda _: None,
) -> Certificate:
    """Try every property of the suite within the seconds of `effort`, which they share.

    They come in the order of `PROPERTY_NAMES`, wherever the suite was read from: that of a run has its keys sorted.
    `started` hears the name of each before it is tried, `watch` each case.
    """
    judgements = []
    shares = Shares(effort.seconds, len(suite.properties))
    for name in PROPERTY_NAMES:
        if (check := suite.properties.get(name)) is not None:
            started(name)
            judgements.append(judge(REGISTRY[name], check, subject, replace(effort, seconds=shares.next()), watch))
    return Certificate(tuple(judgements), circumstances)


def judge(
    tested: Property[SubjectT],
    check: Check,
    subject: SubjectT,
    effort: Effort = NO_SEARCH,
    watch: Watch = lambda _: None,
) -> Judgement:
    """Try the cases in their order up to the first failing one; if none fails, search for one and shrink it.

    Of passing cases the nearest to failing is reported. A crash inside the check is the verdict `error`, with the line
    that raised: it says nothing about the property. `watch` hears of each case before it is tried.
    """
    began = time.perf_counter()
    trial = Trial(tested, check, subject, watch, effort.seed)
    with signals_left_alone():  # a training that was cut short would be judged as if it were whole
        trial.run(effort)
    return replace(trial.judgement, seconds=round(time.perf_counter() - began, 3))


def judge_case(tested: Property[SubjectT], check: Check, subject: SubjectT, case: Case) -> Judgement:
    """The verdict on one case alone."""
    trial = Trial(tested, check, subject, lambda _: None, 0)
    with signals_left_alone():
        trial.attempt(case)
    return trial.judgement


class Trial(Generic[SubjectT]):
    """One property under trial: what was found so far."""

    def __init__(self, tested: Property[SubjectT], check: Check, subject: SubjectT, watch: Watch, seed: int) -> None:
        info = PROPERTIES[tested.name]
        self.tested, self.subject, self.watch = tested, subject, watch
        self.tried = 0
        self.longest = 0
        """Tokens of the longest case that was tried, where cases have lengths."""
        self.judgement = Judgement(
            tested.name, info.clause, "error", check.expect, _bound(tested.name, check), info.direction, info.unit,
            "no case was tried", expected_reason=check.reason, version=info.version, seed=seed,
        )  # fmt: skip

    def run(self, effort: Effort) -> None:
        """All listed cases, then the search, until one does not hold or the time is over."""
        clock = Clock(effort.seconds, cpu=effort.cpu)
        # The search needs its share of the time even where the listed cases take long.
        first = Clock(effort.seconds if self.tested.strategy is None else effort.seconds * LISTED, cpu=effort.cpu)
        cut = False
        try:
            cases = list(self.tested.cases(self.subject))
            for tried, case in enumerate(cases, start=1):
                if (result := self.attempt(case)) != "holds":
                    if self.tested.shrinks:
                        shrink(case, partial(self._still, result), Clock(effort.seconds, cpu=effort.cpu))
                    return
                if cut := first.is_over and tried < len(cases):
                    break
            effort = replace(effort, examples=math.ceil(effort.examples / self.tested.cost))
            if self.tested.strategy is not None and effort.examples and self._may_go_on:
                cut |= search(self.tested.strategy(self.subject), self.attempt, effort, clock)
        except DoesNotApply as excuse:
            self._set("skipped", str(excuse), {})
        except Exception as crash:
            self._set("error", f"the check crashed: {where(crash)}", {})
        if self.judgement.verdict == "pass" and self.longest:
            reason = f"{self.judgement.reason}; tried up to {self.longest} tokens"
            self.judgement = replace(self.judgement, reason=reason)
        if self.judgement.verdict == "pass" and cut:
            self.judgement = replace(self.judgement, reason=f"{self.judgement.reason}; the time limit ended the search")

    def attempt(self, case: Case) -> Result:
        """Try one case and note what it showed. A later failure replaces an earlier one: it is smaller."""
        if self.judgement.verdict == "skipped":
            return "holds"
        self.watch(case)
        self.tried += 1
        self.longest = max(self.longest, tokens_of(case))
        try:
            found = self.tested.check(self.subject, case)
        except DoesNotApply as excuse:
            self._set("skipped", str(excuse), {})
            return "holds"
        except Exception as crash:
            self._set("error", f"the check crashed: {where(crash)}", case)
            return "error"
        return self._note(found)

    def _still(self, wanted: Result, case: Case) -> bool:
        """Whether a smaller case gives the same result; if it gives another, what was known stays."""
        known = self.judgement
        if self.attempt(case) == wanted and (wanted != "error" or _kind(self.judgement) == _kind(known)):
            return True
        self.judgement = replace(known, cases_tried=self.tried)
        return False

    @property
    def _may_go_on(self) -> bool:
        return self.judgement.verdict == "pass" or not self.tried

    def _note(self, found: Finding) -> Result:
        so_far = self.judgement
        margin = _margin(found, so_far.bound, so_far.direction)
        holds = margin > 0 if so_far.direction == "below" else margin >= 0
        if not holds or so_far.verdict != "pass" or so_far.margin is None or margin <= so_far.margin:
            if holds and so_far.verdict in ("fail", "error") and self.tried > 1:
                return "holds"  # a smaller case that holds says nothing about the one that did not
            self.judgement = replace(
                so_far,
                verdict="pass" if holds else "fail",
                reason=found.reason,
                observed=found.observed,
                margin=margin,
                case=dict(found.case),
            )
        self.judgement = replace(self.judgement, cases_tried=self.tried)
        return "holds" if holds else "fail"

    def _set(self, verdict: Verdict, reason: str, case: Case) -> None:
        self.judgement = replace(
            self.judgement, verdict=verdict, reason=reason, case=dict(case), observed=None, margin=None,
            cases_tried=self.tried,
        )  # fmt: skip


def tokens_of(case: Case) -> int:
    """The length of the longest text of a case, 0 for cases without one."""
    pieces, calls = case.get("pieces"), case.get("calls")
    if isinstance(pieces, str):
        return sum(int(size) for size in pieces.split("+"))
    if isinstance(calls, str) and calls:
        return max(int(call.rpartition("×")[2]) for call in calls.split())
    parts = [case.get(name, 0) for name in ("length", "pads", "before")]
    return sum(part for part in parts if isinstance(part, int)) if "length" in case else 0


def _kind(judgement: Judgement) -> str:
    """The exception of an error."""
    return judgement.reason.removeprefix("the check crashed: ").partition(":")[0]


def where(crash: BaseException) -> str:
    """An exception in one line, with the innermost place that belongs to no library."""
    frames = traceback.extract_tb(crash.__traceback__)
    own = [frame for frame in frames if not any(library in frame.filename for library in LIBRARIES)]
    frame = (own or frames)[-1]
    return f"{in_one_line(crash)} ({Path(frame.filename).name}:{frame.lineno})"


def _bound(name: PropertyName, check: Check | None) -> float:
    return PROPERTIES[name].bound if check is None or check.bound is None else check.bound


def _margin(found: Finding, bound: float, direction: str) -> float:
    inside = found.observed - bound if direction == "at_least" else bound - found.observed
    return -math.inf if math.isnan(inside) else inside
