"""Interpolated n-grams: against a plain loop, in chunks, and where nothing or too little was counted."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortexzoo.zoo.data import ngrams
from cortexzoo.zoo.data.ngrams import LONGEST, interpolated_losses

few_bytes = st.lists(st.sampled_from([0, 7, 255]), min_size=1, max_size=60).map(bytes)


def probability(train: bytes, context: bytes, byte: int) -> float:
    """Witten-Bell, straight from the definition: the context's shorter form first."""
    shorter = probability(train, context[1:], byte) if context else 1 / 256
    places = [i for i in range(len(train) - len(context)) if train[i : i + len(context)] == context]
    followers = [train[i + len(context)] for i in places]
    if not followers:
        return shorter
    distinct = len(set(followers))
    return (followers.count(byte) + distinct * shorter) / (len(followers) + distinct)


@given(few_bytes, few_bytes, st.sampled_from([5, 1 << 22]))
def test_the_losses_are_those_of_the_definition(train: bytes, text: bytes, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngrams, "CHUNK", chunk)
        patch.setattr(ngrams, "SHORT", 0)  # nothing of what another size of chunks has counted
        arrays = (np.frombuffer(part, dtype=np.uint8) for part in (train, text))
        losses = interpolated_losses(*arrays, np.arange(len(text)))
    for order, loss in enumerate(losses, start=1):
        parts = [probability(train, _before(text, place, order), text[place]) for place in range(len(text))]
        assert loss == pytest.approx(-sum(map(math.log, parts)) / len(text), rel=1e-12)


def _before(text: bytes, place: int, order: int) -> bytes:
    """The bytes that the order looks back at; at the beginning of the text there are fewer."""
    return text[max(0, place - order + 1) : place]


def test_there_is_one_loss_an_order() -> None:
    text = np.frombuffer(b"abcabcabc", dtype=np.uint8)
    assert len(interpolated_losses(text, text, np.array([4]))) == LONGEST


def test_a_short_text_is_counted_once_and_a_long_one_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    text = np.frombuffer(b"counted once", dtype=np.uint8)
    ngrams.counts_of_short.cache_clear()
    first = interpolated_losses(text, text, np.array([4]))
    assert interpolated_losses(text.copy(), text, np.array([4])) == first
    known = ngrams.counts_of_short.cache_info()
    assert (known.hits, known.misses) == (LONGEST, LONGEST)
    monkeypatch.setattr(ngrams, "SHORT", len(text) - 1)
    assert interpolated_losses(text, text, np.array([4])) == first
    assert ngrams.counts_of_short.cache_info() == known
