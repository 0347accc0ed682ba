"""Streams of random numbers: each its own, the same wherever it is asked for."""

from itertools import combinations, product

import numpy as np
import pytest

from cortexzoo.zoo.streams import Stream


def drawn(stream: Stream, seed: int, *place: int) -> tuple[int, ...]:
    return tuple(stream.seeds(seed, *place).generate_state(4).tolist())


def test_no_stream_meets_another_at_any_place() -> None:
    places = [(), *product(range(4)), *product(range(4), repeat=2)]
    spawned = [stream for stream in Stream if stream not in (Stream.TEXT, Stream.DOCUMENTS)]
    found = {
        stream: {drawn(stream, seed, *place) for seed in (0, 1, 2**40) for place in places}
        for stream in (*spawned, Stream.DOCUMENTS)
    }
    assert all(not found[one] & found[other] for one, other in combinations(found, 2))
    assert all(len(found[stream]) == 3 * len(places) for stream in spawned)


@pytest.mark.parametrize("stream", Stream)
def test_seed_and_place_decide(stream: Stream) -> None:
    first, again, other = (stream.generator(3, place).random(4) for place in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_data_keep_their_order() -> None:
    """Figures of earlier releases were trained on the data in this order."""
    assert Stream.TEXT.generator(7, 2).random() == np.random.default_rng([7, 2]).random()
    assert Stream.DOCUMENTS.generator(7, 2, 9).random() == np.random.default_rng([7, 2, 9]).random()
