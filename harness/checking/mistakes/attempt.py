"""One attempt: something that fits, or a mistake that must be refused in one line."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from cortexzoo.specs.errors import UserError

REFUSALS = (ValueError, UserError)
CHECKED = "TypeCheckError"
"""Raised before a function is called, where the shapes in its annotations are checked, as in tests."""


@dataclass(frozen=True)
class Attempt:
    """What is tried, and whether it fits."""

    what: str
    act: Callable[[], Any]
    fits: bool


def fits(what: str, act: Callable[[], Any]) -> Attempt:
    """What must not be refused: it lies on a limit, and not beyond."""
    return Attempt(what, act, True)


def mistaken(what: str, act: Callable[[], Any]) -> Attempt:
    """What must be refused."""
    return Attempt(what, act, False)


def wrong_ends(attempts: Iterable[Attempt]) -> list[str]:
    """The attempts that end otherwise than they should, each in words: one that goes wrong in another way, too."""
    found = []
    for attempt in attempts:
        said: str | None = None
        try:
            attempt.act()
        except REFUSALS as refusal:
            said = str(refusal)
        except Exception as problem:
            if type(problem).__name__ == CHECKED and not attempt.fits:
                continue
            found.append(f"{attempt.what}: {type(problem).__name__}: {' '.join(str(problem).split())[:80]}")
            continue
        if attempt.fits and said is not None:
            found.append(f"{attempt.what} is refused: {said[:80]}")
        elif not attempt.fits and said is None:
            found.append(f"{attempt.what} is not refused")
        elif said is not None and (not said or "\n" in said.strip()):
            found.append(f"{attempt.what} is refused, but not in one line")
    return found
