"""Searching for a counterexample: Hypothesis proposes cases and shrinks what falsifies, within a budget."""

import json
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from hypothesis import HealthCheck, Phase, find, settings
from hypothesis.errors import NoSuchExample
from hypothesis.strategies import SearchStrategy

from cortexzoo.harness.checking.effort import Effort
from cortexzoo.harness.checking.properties.base import Case

Result = Literal["holds", "fail", "error"]


class Clock:
    """When the seconds of an effort are over: of the wall clock, or of this process's CPU time."""

    def __init__(self, seconds: float, *, cpu: bool = False) -> None:
        self._now = time.process_time if cpu else time.perf_counter
        self._end = self._now() + seconds

    @property
    def is_over(self) -> bool:
        return self._now() > self._end


def search(strategy: SearchStrategy[Case], attempt: Callable[[Case], Result], effort: Effort, clock: Clock) -> bool:
    """Let `attempt` try cases of `strategy`; after the first that does not hold, ever smaller ones of the same kind.

    Each case is attempted once: when the clock is over, only what is known already is answered, so that a shrinking
    search ends with the smallest case it has seen, also for a subject that is not repeatable. Returns whether the
    clock cut the search short.
    """
    known: dict[str, Result] = {}
    wanted: Result | None = None
    cut = False

    def falsifies(case: Case) -> bool:
        nonlocal wanted, cut
        key = json.dumps(case, sort_keys=True)
        if key not in known:
            if clock.is_over:
                cut = True
                return False
            known[key] = attempt(case)
        if known[key] == "holds":
            return False
        wanted = wanted or known[key]
        return known[key] == wanted

    quietly = settings(
        max_examples=effort.examples,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    with suppress(NoSuchExample):
        find(strategy, falsifies, settings=quietly, random=random.Random(effort.seed))
    return cut
