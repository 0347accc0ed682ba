"""Making a listed case that fails smaller: each whole number towards the least that still fails."""

from collections.abc import Callable, Iterator

from cortexzoo.harness.checking.properties.base import Case
from cortexzoo.harness.checking.search import Clock

MOST_ATTEMPTS = 60
LEAST = {"length": 1, "rows": 1, "pads": 0, "edited": 1, "edited_row": 0, "before": 0, "seed": 0}
"""The numbers that are made smaller, with the least that each can be, in this order."""


def shrink(case: Case, fails: Callable[[Case], bool], clock: Clock) -> None:
    """Let `fails` try smaller cases, by bisection, for as long as the clock allows; it notes what it finds."""
    budget = MOST_ATTEMPTS

    def attempt(smaller: Case) -> bool:
        nonlocal budget
        budget -= 1
        return budget >= 0 and not clock.is_over and fails(smaller)

    changed = True
    while changed and budget > 0 and not clock.is_over:
        changed = False
        for key, least in LEAST.items():
            value = case.get(key)
            if not isinstance(value, int) or value <= least:
                continue
            good, bad = least - 1, value
            for middle in _middles(least, value):
                if not good < middle < bad:
                    continue
                if attempt({**case, key: middle}):
                    bad = middle
                else:
                    good = middle
            while bad - good > 1:
                middle = (good + bad) // 2
                if attempt({**case, key: middle}):
                    bad = middle
                else:
                    good = middle
            if bad < value:
                case, changed = {**case, key: bad}, True


def _middles(least: int, value: int) -> Iterator[int]:
    """The least first, since most cases can be that small; then just below, since most of the others cannot shrink."""
    yield least
    yield value - 1
