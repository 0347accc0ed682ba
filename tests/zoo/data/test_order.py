"""The order of training windows is a pure function of seed and place; validation windows tile their part."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cortexzoo.zoo.data.order import DocumentOrder, TrainingOrder, cut_windows, validation_starts

lengths = st.integers(1, 20)


@st.composite
def orders(draw: st.DrawFn) -> TrainingOrder:
    length = draw(lengths)
    return TrainingOrder(draw(st.integers(length + 1, 400)), length, draw(st.integers(0, 2**31 - 1)))


@given(orders(), st.integers(0, 300), st.integers(0, 40), st.integers(0, 40))
def test_a_stretch_is_the_sum_of_its_parts(order: TrainingOrder, first: int, one: int, other: int) -> None:
    parts = np.concatenate([order.starts(first, one), order.starts(first + one, other)])
    assert np.array_equal(parts, order.starts(first, one + other))


@given(orders(), st.integers(0, 5))
def test_an_epoch_visits_windows_that_fit_and_do_not_overlap(order: TrainingOrder, epoch: int) -> None:
    windows = order.windows_per_epoch
    starts = np.sort(order.starts(epoch * windows, windows))
    assert starts[0] >= 0
    assert starts[-1] + order.sequence_length + 1 <= order.text_length
    assert (np.diff(starts) == order.sequence_length).all()


@given(orders())
def test_an_epoch_leaves_out_less_than_two_windows(order: TrainingOrder) -> None:
    assert order.text_length - order.windows_per_epoch * order.sequence_length <= 2 * order.sequence_length


def test_epochs_and_seeds_differ() -> None:
    order = TrainingOrder(10_000, 16, seed=1)
    windows = order.windows_per_epoch
    first, second = order.starts(0, windows), order.starts(windows, windows)
    assert not np.array_equal(first, second)
    assert not np.array_equal(np.sort(first), first)
    assert not np.array_equal(first, TrainingOrder(10_000, 16, seed=2).starts(0, windows))
    seen = {int(order.starts(epoch * windows, windows).min()) for epoch in range(400)}
    assert seen == set(range(10_000 - windows * 16)), "every shift that fits comes up"


def test_a_document_of_one_token_has_no_window() -> None:
    order = DocumentOrder(np.array([0, 5, 6]), text_length=15, sequence_length=4, seed=0)
    assert sorted(order.starts(0, order.windows_per_epoch)) == [0, 6, 10]


@given(lengths, st.data())
def test_validation_windows_are_contiguous_and_fit(length: int, data: st.DataObject) -> None:
    text_length = data.draw(st.integers(length + 1, 400))
    starts = validation_starts(text_length, length)
    assert np.array_equal(starts, np.arange(len(starts)) * length)
    assert starts[-1] + length + 1 <= text_length < starts[-1] + 2 * length + 1


@given(lengths, st.integers(1, 30), st.data())
def test_fewer_validation_windows_are_evenly_spread(length: int, at_most: int, data: st.DataObject) -> None:
    text_length = data.draw(st.integers(length + 1, 400))
    every, chosen = validation_starts(text_length, length), validation_starts(text_length, length, at_most)
    assert len(chosen) == min(at_most, len(every))
    assert set(chosen) <= set(every)
    gaps = np.diff(chosen) // length
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


def test_windows_end_with_their_last_target() -> None:
    text = np.arange(20, dtype=np.uint8)
    assert cut_windows(text, np.array([0, 8]), 4).tolist() == [[0, 1, 2, 3, 4], [8, 9, 10, 11, 12]]
