"""Chance levels against brute force: what the best guesser gets who knows the task but not the facts."""

from collections import Counter
from itertools import product

import pytest

from cortexzoo.zoo.data.tasks.chance import of_uniform_symbols
from tests.zoo.data.tasks.shipped import task_of


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_chance_of_a_sum_is_that_of_the_best_guess(count: int) -> None:
    digits = [int("".join(number)) for number in product("0123456789", repeat=count)]
    sums = Counter(str(first + second).zfill(count + 1) for first in digits for second in digits)
    total = sum(sums.values())
    chance = task_of("add", f"task.num_digits={count}").chance()
    assert chance.exact == pytest.approx(max(sums.values()) / total)
    right = 0
    for place in range(count + 1):
        following: dict[str, Counter[str]] = {}
        for written, times in sums.items():
            following.setdefault(written[:place], Counter())[written[place]] += times
        right += sum(max(counts.values()) for counts in following.values())
    assert chance.token == pytest.approx(right / total / (count + 1))


def test_symbols_of_several_tokens_are_guessed_token_by_token() -> None:
    even = of_uniform_symbols([(1,), (2,), (3,), (4,)], 3)
    assert (even.exact, even.token) == (1 / 64, 1 / 4)
    # The best guess says 1 first (3 of 4 right), then 2 (1 of 3 right): 4 of 7 tokens.
    several = of_uniform_symbols([(1, 2), (1, 3), (1, 4), (5,)], 2)
    assert several.exact == 1 / 16
    assert several.token == pytest.approx(4 / 7)


@pytest.mark.parametrize(
    ("name", "exact", "token"),
    [
        ("kv", 26**-4, 1 / 26),
        ("kv-tokens", 1 / 64, 1 / 64),
        ("overwrite", 1 / 64, 1 / 64),
        ("copy", 26**-16, 1 / 26),
        ("nback", 1 / 26, 1 / 26),
        ("add", 1e-32, 3.8 / 33),
        ("selective-copy", 14**-16, 1 / 14),
        ("passkey", 1e-5, 0.1),
        ("mqar-64-4", sum(1 / (4096 - asked) for asked in range(4)) / 4, 0.000244230083),
    ],
)
def test_chance_levels_of_the_shipped_tasks(name: str, exact: float, token: float) -> None:
    chance = task_of(name).chance()
    assert chance.exact == pytest.approx(exact, rel=1e-6)
    assert chance.token == pytest.approx(token, rel=1e-6)
