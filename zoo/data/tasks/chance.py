"""How often an answer is right by chance: the best guess of one who knows the task but not the facts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Chance:
    """Expected accuracy of the best guess, earlier tokens of the answer given, as in teacher forcing."""

    exact: float
    """Of whole answers."""
    token: float
    """Of an answer's single tokens."""


def of_uniform_symbols(spellings: Sequence[tuple[int, ...]], count: int) -> Chance:
    """Answers of `count` symbols, each drawn evenly and independently; a symbol may take several tokens.

    After each prefix of a symbol the best guess is the token by which most symbols continue.
    """
    continuations: dict[tuple[int, ...], Counter[int]] = {}
    for spelling in spellings:
        for place, token in enumerate(spelling):
            continuations.setdefault(spelling[:place], Counter())[token] += 1
    right = sum(max(counts.values()) for counts in continuations.values())
    return Chance(float(len(spellings)) ** -count, right / sum(map(len, spellings)))
