"""Counting models: against a plain loop, on the positions that a model's validation scores, and on the shipped text."""

import math
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortexzoo.specs.data import TextSpec
from cortexzoo.zoo.data import reference
from cortexzoo.zoo.data.ngrams import interpolated_losses
from cortexzoo.zoo.data.order import cut_windows, validation_starts
from cortexzoo.zoo.data.reference import SMOOTHING, reference_losses
from cortexzoo.zoo.data.text import TextData

few_bytes = st.lists(st.sampled_from([0, 7, 65, 255]), min_size=6, max_size=80)


def counted_naively(train: list[int], pairs: list[tuple[int, int]]) -> tuple[float, float]:
    unigram = bigram = 0.0
    for x, y in pairs:
        followers = [b for a, b in pairwise(train) if a == x]
        unigram -= math.log((train.count(y) + SMOOTHING) / (len(train) + 256 * SMOOTHING))
        bigram -= math.log((followers.count(y) + SMOOTHING) / (len(followers) + 256 * SMOOTHING))
    return unigram / len(pairs), bigram / len(pairs)


@given(few_bytes, few_bytes, st.integers(1, 5), st.sampled_from([None, 1, 3]), st.sampled_from([4, 1 << 24]))
def test_counts_agree_with_a_loop_over_the_windows(
    train: list[int], validation: list[int], length: int, at_most: int | None, chunk: int
) -> None:
    held_out = np.array(validation, dtype=np.uint8)
    starts = validation_starts(len(held_out), length, at_most)
    windows = cut_windows(held_out, starts, length).tolist()
    pairs = [pair for window in windows for pair in pairwise(window)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "CHUNK", chunk)
        counted = reference_losses(np.array(train, dtype=np.uint8), held_out, starts, length)
    unigram, bigram = counted_naively(train, pairs)
    assert counted.unigram == pytest.approx(unigram, rel=1e-12)
    assert counted.bigram == pytest.approx(bigram, rel=1e-12)


def test_the_hardest_order_is_chosen_on_the_scored_positions() -> None:
    train = np.frombuffer(b"abcdefgh" * 9, dtype=np.uint8)
    counted = reference_losses(train, train, np.array([8, 16]), 8)
    losses = interpolated_losses(train, train, np.concatenate([np.arange(9, 17), np.arange(17, 25)]))
    assert (counted.ngram, counted.ngram_order) == (min(losses), 1 + losses.index(min(losses)))


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the topics differ between Python versions")
def test_the_topics_of_python_3_11() -> None:
    data = TextData.from_spec(TextSpec(name="topics"))
    validation, test = data.reference_losses(128), data.reference_losses(128, part="test")
    assert (validation.ngram, validation.ngram_order) == (pytest.approx(1.333, abs=5e-4), 5)
    assert (test.ngram, test.ngram_order) == (pytest.approx(1.401, abs=5e-4), 5)
