"""Any stretch of a document is what the whole has there; noise is even and hangs on key and place alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cortexzoo.zoo.data.tasks.document import BLANK, Document, Noise, Passage, PassageWriter
from tests.property.strategies import splits
from tests.zoo.data.tasks.shipped import NAMES, task_of


@given(st.sampled_from(NAMES), st.integers(0, 100), st.integers(0, 4), st.data())
def test_any_split_gives_the_whole(name: str, index: int, gap: int, data: st.DataObject) -> None:
    document = task_of(name).example("train", index, gap)
    whole = document.tokens, document.answers
    pieces = [document.cut(cut.start, cut.stop) for cut in data.draw(splits(document.length + 1))]
    for part, of_pieces in zip(whole, zip(*pieces, strict=True), strict=True):
        assert np.array_equal(part, np.concatenate(of_pieces))


def test_passages_lie_where_they_are_placed_and_noise_shows_through() -> None:
    writer = PassageWriter()
    assert writer.write([5, 6]) == 1
    writer.answer([7, 8])
    writer.answer([9])
    holed = Passage(np.array([4, BLANK, 4]), np.array([0, 0, 0]))
    document = Document(
        length=9,
        placed=((1, holed), (5, writer.passage())),
        noise=Noise(np.array([1]), key=0),
        distances=np.array([4, 6]),
        slices={},
    )
    assert document.tokens.tolist() == [1, 4, 1, 4, 1, 5, 6, 7, 8, 9]
    assert document.answers.tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 1, 2]
    assert (document.answers > 0).tolist() == [False] * 7 + [True] * 3


def test_noise_is_even_and_neighbours_are_independent() -> None:
    drawn = Noise(np.arange(16), key=2**62 + 7).between(0, 160_000)
    counts = np.bincount(drawn[:-1] * 16 + drawn[1:], minlength=256)
    # Chi-squared over 256 cells: 255 on average, its standard deviation is 22.6.
    assert ((counts - 625) ** 2 / 625).sum() < 255 + 5 * 22.6


def test_noise_far_from_the_beginning_differs() -> None:
    noise = Noise(np.arange(100), key=2**63 - 1)
    assert not np.array_equal(noise.between(0, 50), noise.between(10**9, 10**9 + 50))
    assert not np.array_equal(noise.between(0, 50), Noise(np.arange(100), key=1).between(0, 50))


def test_noise_in_order_repeats() -> None:
    noise = Noise(np.array([3, 1, 2]), key=1, in_order=True)
    assert noise.between(0, 7).tolist() == [1, 2, 3, 1, 2, 3, 1]
