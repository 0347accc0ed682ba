"""The reservoir is bounded, uniform, deterministic, and the same after a way through tensors."""

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from cortexzoo.zoo.training.sleep.reservoir import Example, Reservoir


def example(number: int, length: int = 3) -> Example:
    return Example(torch.full((length + 1,), number), torch.ones(length, dtype=torch.bool))


def numbers(reservoir: Reservoir) -> list[int]:
    return [int(kept.tokens[0]) for kept in reservoir.examples]


def filled(capacity: int, count: int, seed: int) -> Reservoir:
    return Reservoir(capacity).offered((example(n) for n in range(count)), np.random.default_rng(seed))


@given(capacity=st.integers(1, 6), count=st.integers(0, 20), seed=st.integers(0, 5))
def test_it_holds_as_many_different_examples_as_fit(capacity: int, count: int, seed: int) -> None:
    kept = numbers(filled(capacity, count, seed))
    assert len(kept) == len(set(kept)) == min(capacity, count)
    assert all(0 <= number < count for number in kept)
    assert kept == numbers(filled(capacity, count, seed))


def test_every_example_is_as_likely_as_any_other() -> None:
    draws = 4000
    counts = np.zeros(10)
    for seed in range(draws):
        counts[numbers(filled(3, 10, seed))] += 1
    # Binomial with p = 0.3: five standard deviations around the mean.
    assert abs(counts / draws - 0.3).max() < 5 * (0.3 * 0.7 / draws) ** 0.5


def test_one_by_one_is_as_all_at_once_with_the_same_draws() -> None:
    random, reservoir = np.random.default_rng(3), Reservoir(4)
    for number in range(12):
        reservoir = reservoir.offered([example(number)], random)
    assert numbers(reservoir) == numbers(filled(4, 12, 3))
    assert reservoir.seen == 12


def test_offering_leaves_the_value_before_as_it_was() -> None:
    before = filled(2, 5, 0)
    kept = numbers(before)
    before.offered([example(99)] * 20, np.random.default_rng(1))
    assert numbers(before) == kept and before.seen == 5


def test_it_goes_through_tensors_with_examples_of_several_lengths() -> None:
    examples = (replace(example(n, 2 + n), place=7 * n) for n in range(3))
    reservoir = Reservoir(5).offered(examples, np.random.default_rng(0))
    again = Reservoir.from_tensors(5, reservoir.tensors())
    assert again.seen == reservoir.seen
    assert [kept.place for kept in again.examples] == [0, 7, 14]
    for one, other in zip(reservoir.examples, again.examples, strict=True):
        assert torch.equal(one.tokens, other.tokens) and torch.equal(one.scored, other.scored)
    assert len(Reservoir.from_tensors(2, reservoir.tensors()).examples) == 2
    assert Reservoir.from_tensors(5, {}) == Reservoir(5)
