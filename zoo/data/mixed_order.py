"""Which windows of several texts make up a batch: each text as often as its weight, at any step alike."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from cortexzoo.zoo.data.order import Starts, TrainingOrder
from cortexzoo.zoo.streams import Stream

BLOCK = 1000
"""Windows in which every text has its share, rounded."""


@dataclass(frozen=True)
class MixedOrder:
    """An endless stream of training windows over texts that stand one after the other.

    Every thousand windows contain as many of each text as its share of the weights, in an order that follows from
    (seed, thousand) alone. Within a text the order is that of `TrainingOrder`, with a seed of its own; a text that is
    short for its weight begins its next epoch while others are in their first.
    """

    lengths: tuple[int, ...]
    weights: tuple[float, ...]
    sequence_length: int
    seed: int

    def starts(self, first: int, count: int) -> Starts:
        """Start offsets of windows `first … first + count − 1` of the stream."""
        positions = np.arange(first, first + count)
        blocks, places = np.divmod(positions, BLOCK)
        counts = _counts(self.weights)
        offsets = np.concatenate([[0], np.cumsum(self.lengths)])
        found = np.empty(count, dtype=np.int64)
        for index, (block, place) in enumerate(zip(blocks.tolist(), places.tolist(), strict=True)):
            texts, ranks = _block(self.weights, self.seed, block)
            text = int(texts[place])
            (start,) = self._order(text).starts(block * int(counts[text]) + int(ranks[place]), 1)
            found[index] = offsets[text] + start
        return found

    def _order(self, text: int) -> TrainingOrder:
        seed = int(Stream.TEXT.generator(self.seed, text, 2).integers(2**31))
        return TrainingOrder(self.lengths[text], self.sequence_length, seed)


@lru_cache(maxsize=16)
def _block(weights: tuple[float, ...], seed: int, block: int) -> tuple[Starts, Starts]:
    """The text of each window of a block, and how many windows of that text come before it in the block."""
    counts = _counts(weights)
    texts = Stream.TEXT.generator(seed, block, 3).permutation(np.repeat(np.arange(len(weights)), counts))
    ranks = np.empty(BLOCK, dtype=np.int64)
    for text in range(len(weights)):
        ranks[texts == text] = np.arange(counts[text])
    return texts, ranks


def _counts(weights: tuple[float, ...]) -> Starts:
    """Windows of each text in a block: rounded down, and the rest to those that lose most; at least one of each."""
    shares = np.array(weights) / sum(weights) * BLOCK
    counts = np.maximum(np.floor(shares), 1).astype(np.int64)
    order = np.argsort(counts - shares, kind="stable")
    for index in range(BLOCK - int(counts.sum())):
        counts[order[index % len(order)]] += 1
    while counts.sum() > BLOCK:
        counts[np.argmax(counts)] -= 1
    return counts
