"""Chance levels of memory tasks: every answer written down with its weight, and the guess that is right most often."""

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from itertools import product

from cortexzoo.specs.base import Spec
from cortexzoo.specs.task import (
    Addition,
    Copy,
    KeyValue,
    MultiQueryRecall,
    NBack,
    PairsOfTokens,
    Passkey,
    SelectiveCopy,
)

LETTERS, DIGITS = 26, 10
MOST = 100_000
"""Answers that are written down."""
Answers = Mapping[tuple[int, ...], int]


@lru_cache
def chance_again(kind: Spec) -> tuple[float, float] | None:
    """Shares of whole answers and of single tokens, given those before them; None: nothing is known of the task."""
    match kind:
        case Addition(num_digits=count):
            return best_guess(_sums(count))
        case MultiQueryRecall(vocab_size=size, num_pairs=pairs):
            # One who remembers what was answered guesses among the other values.
            share = float(sum(Fraction(1, size // 2 - answered) for answered in range(pairs)) / pairs)
            return share, share
        case KeyValue(value_length=length):
            return _of_symbols(LETTERS, length)
        case Copy(num_letters=length):
            return _of_symbols(LETTERS, length)
        case NBack():
            return _of_symbols(LETTERS, 1)
        case Passkey(num_digits=length):
            return _of_symbols(DIGITS, length)
        case SelectiveCopy(vocab_size=size, num_copied=length):
            return _of_symbols(size - 2, length)  # the blank and the cue are no answer
        case PairsOfTokens(num_values=size):
            return _of_symbols(size, 1)
    return None


def _of_symbols(size: int, length: int) -> tuple[float, float]:
    """Each drawn evenly, whatever the others are."""
    if size**length > MOST:
        return float(size) ** -length, 1 / size
    return best_guess(dict.fromkeys(product(range(size), repeat=length), 1))


def _sums(count: int) -> Answers:
    """Of all pairs of numbers with so many digits."""
    found = Counter[tuple[int, ...]]()
    for total in range(2 * 10**count - 1):
        pairs = total + 1 if total < 10**count else 2 * 10**count - 1 - total
        found[tuple(map(int, f"{total:0{count + 1}d}"))] = pairs
    return found


def best_guess(answers: Answers) -> tuple[float, float]:
    """The shares of whole answers and of tokens that are right; of answers of unlike lengths the tokens of all."""
    total, right = sum(answers.values()), 0
    for place in range(max(map(len, answers))):
        following: dict[tuple[int, ...], Counter[int]] = {}
        for answer, weight in answers.items():
            if place < len(answer):
                following.setdefault(answer[:place], Counter())[answer[place]] += weight
        right += sum(max(counts.values()) for counts in following.values())
    return max(answers.values()) / total, right / sum(len(answer) * weight for answer, weight in answers.items())
