"""From findings to verdicts: is each property within its bound, and is that what the suite expects?"""

import math
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
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
from cortexzoo.specs.properties import PROPERTIES, PROPERTY_NAMES, PropertyName, Verdict
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.training.signals import signals_left_alone

Watch = Callable[[Case], None]
NO_SEARCH = Effort()
LISTED = 0.7
"""Of a property's time, for its listed cases; the search gets the rest."""
MOST_CRASHES = 12
"""Listed cases that may crash before the rest is given up: one that fails is better evidence."""
LIBRARIES = ("site-packages", "dist-packages")


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
    `started` receives the name of each before it is tried, `watch` each case.
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
    that raised: it is no evidence about the property. `watch` receives each case before it is tried.
    """
    began = time.perf_counter()
    trial = Trial(tested, check, subject, watch)
    with signals_left_alone():  # a training that was cut short would be judged as if it were whole
        trial.run(effort)
    return trial.judgement(seed=effort.seed, seconds=round(time.perf_counter() - began, 3))


def judge_case(tested: Property[SubjectT], check: Check, subject: SubjectT, case: Case) -> Judgement:
    """The verdict on one case alone."""
    trial = Trial(tested, check, subject, lambda _: None)
    with signals_left_alone():
        trial.attempt(case)
        trial.explain()
    return trial.judgement(seed=0, seconds=0.0)


@dataclass(frozen=True)
class Shown:
    """What the cases tried so far have shown of a property."""

    verdict: Verdict
    reason: str
    case: Case = field(default_factory=dict)
    observed: float | None = None
    margin: float | None = None
    cause: Case = field(default_factory=dict)


class Trial(Generic[SubjectT]):
    """One property under trial."""

    def __init__(self, tested: Property[SubjectT], check: Check, subject: SubjectT, watch: Watch) -> None:
        self.tested, self.check, self.subject, self.watch = tested, check, subject, watch
        self.tried = 0
        self.longest = 0
        """Tokens of the longest case that was tried, where cases have lengths."""
        self.shown = Shown("error", "no case was tried")

    def judgement(self, *, seed: int, seconds: float) -> Judgement:
        """The verdict on what was shown."""
        shown = {**vars(self.shown), "case": dict(self.shown.case), "cause": dict(self.shown.cause)}
        return Judgement.of(self.tested.name, self.check, **shown, cases_tried=self.tried, seconds=seconds, seed=seed)

    def run(self, effort: Effort) -> None:
        """All listed cases, then the search, until one does not hold or the time is over."""
        self._run(effort)
        self.explain()

    def explain(self) -> None:
        """Where a failure begins, for properties that can find it; a crash on the way leaves the verdict as it is."""
        if self.shown.verdict != "fail" or self.tested.explain is None:
            return
        try:
            cause = self.tested.explain(self.subject, self.shown.case)
        except Exception:
            return
        if cause is not None:
            reason = f"{self.shown.reason}: {cause['words']}"
            self.shown = replace(self.shown, cause=cause, reason=reason)

    def _run(self, effort: Effort) -> None:
        clock = Clock(effort.seconds, cpu=effort.cpu)
        # The search needs its share of the time even where the listed cases take long.
        first = Clock(effort.seconds if self.tested.strategy is None else effort.seconds * LISTED, cpu=effort.cpu)
        cut, crashed = False, list[Case]()
        try:
            cases = list(self.tested.cases(self.subject))
            for tried, case in enumerate(cases, start=1):
                known = self.shown
                result = self.attempt(case)
                if result == "fail":
                    self._shrink(case, result, effort)
                    return
                if result == "error":
                    crashed.append(case)
                if len(crashed) > 1 or (crashed and result == "holds"):
                    self.shown = known
                if len(crashed) >= MOST_CRASHES:
                    break
                if cut := first.is_over and tried < len(cases):
                    break
            if crashed:
                self._shrink(crashed[0], "error", effort)
                return
            effort = replace(effort, examples=math.ceil(effort.examples / self.tested.cost))
            if self.tested.strategy is not None and effort.examples and self._may_go_on:
                cut |= search(self.tested.strategy(self.subject), self.attempt, effort, clock)
        except DoesNotApply as excuse:
            self.shown = Shown("skipped", str(excuse))
        except Exception as crash:
            self.shown = Shown("error", f"the check crashed: {where(crash)}")
        if self.shown.verdict == "pass":
            length = f"; tried up to {self.longest} tokens" if self.longest else ""
            limit = "; the time limit ended the search" if cut else ""
            self.shown = replace(self.shown, reason=f"{self.shown.reason}{length}{limit}")

    def _shrink(self, case: Case, result: Result, effort: Effort) -> None:
        if self.tested.shrinks:
            shrink(case, partial(self._still, result), Clock(effort.seconds, cpu=effort.cpu))

    def attempt(self, case: Case) -> Result:
        """Try one case and note what it showed. A later failure replaces an earlier one: it is smaller."""
        if self.shown.verdict == "skipped":
            return "holds"
        self.watch(case)
        self.tried += 1
        self.longest = max(self.longest, tokens_of(case))
        try:
            found = self.tested.check(self.subject, case)
        except DoesNotApply as excuse:
            self.shown = Shown("skipped", str(excuse))
            return "holds"
        except Exception as crash:
            self.shown = Shown("error", f"the check crashed: {where(crash)}", case)
            return "error"
        return self._note(found)

    def _still(self, wanted: Result, case: Case) -> bool:
        """Whether a smaller case gives the same result; if it gives another, what was known stays."""
        known = self.shown
        if self.attempt(case) == wanted and (wanted != "error" or _kind(self.shown) == _kind(known)):
            return True
        self.shown = known
        return False

    @property
    def _may_go_on(self) -> bool:
        return self.shown.verdict == "pass" or not self.tried

    def _note(self, found: Finding) -> Result:
        so_far, observed = self.shown, float(found.observed)
        direction = PROPERTIES[self.tested.name].direction
        margin = margin_of(observed, self.check.bound_of(self.tested.name), direction)
        holds = within(margin, direction)
        if not holds or so_far.verdict != "pass" or so_far.margin is None or margin <= so_far.margin:
            if holds and so_far.verdict in ("fail", "error") and self.tried > 1:
                return "holds"  # a smaller case that holds is no evidence about the one that did not
            self.shown = Shown("pass" if holds else "fail", found.reason, found.case, observed, margin)
        return "holds" if holds else "fail"


def tokens_of(case: Case) -> int:
    """The length of the longest text of a case, 0 for cases without one."""
    pieces, calls = case.get("pieces"), case.get("calls")
    if isinstance(pieces, str):
        return sum(int(size) for size in pieces.split("+"))
    if isinstance(calls, str) and calls:
        return max(int(call.rpartition("×")[2]) for call in calls.split())
    parts = [case.get(name, 0) for name in ("length", "pads", "before")]
    return sum(part for part in parts if isinstance(part, int)) if "length" in case else 0


def _kind(shown: Shown) -> str:
    """The exception of an error."""
    return shown.reason.removeprefix("the check crashed: ").partition(":")[0]


def where(crash: BaseException) -> str:
    """An exception in one line, with the innermost place that belongs to no library."""
    frames = traceback.extract_tb(crash.__traceback__)
    own = [frame for frame in frames if not any(library in frame.filename for library in LIBRARIES)]
    frame = (own or frames)[-1]
    return f"{in_one_line(crash)} ({Path(frame.filename).name}:{frame.lineno})"


def margin_of(observed: float, bound: float, direction: str) -> float:
    """How far a value lies inside its bound; negative: outside."""
    inside = observed - bound if direction == "at_least" else bound - observed
    return -math.inf if math.isnan(inside) else inside


def within(margin: float, direction: str) -> bool:
    """Whether a value of that margin keeps its bound."""
    return margin > 0 if direction == "below" else margin >= 0
