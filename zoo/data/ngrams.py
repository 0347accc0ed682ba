"""What counting longer and longer contexts reaches: n-gram models of the training text, interpolated by Witten-Bell."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from cortexzoo.zoo.data.order import ByteArray

LONGEST = 6
BYTES = 256
CHUNK = 1 << 22
SHORT = 1 << 21
"""Bytes of a text whose counts are kept for the next training in this process: they take some thirteen times the
room of English, and more of random bytes."""

Codes = npt.NDArray[np.int64]


def interpolated_losses(train: ByteArray, text: ByteArray, scored: Codes) -> list[float]:
    """Cross-entropy of `text[scored]` in nats a byte, for the orders 1 to 6.

    p_n(y | h) = (c(h, y) + d(h) · p_(n−1)(y | h')) / (c(h) + d(h)), with training counts c, d(h) the number of distinct
    bytes that follow h, h' without its first byte, and p_0 = 1/256; a context never seen leaves p_(n−1).
    Contexts reach back in `text` as far as the order needs, also before the window that a model would see.
    Source: Witten and Bell 1991, method C.
    """
    probability = np.full(len(scored), 1 / BYTES)
    losses = []
    content = train.tobytes() if len(train) <= SHORT else None
    for order in range(1, LONGEST + 1):
        counted = _Counts.of(train, order) if content is None else counts_of_short(content, order)
        probability = counted.interpolated(text, scored, probability)
        losses.append(float(-np.log(probability).mean()))
    return losses


@dataclass(frozen=True)
class _Counts:
    """How often each n-gram and each context occurs; grams and contexts are sorted base-256 numbers."""

    order: int
    grams: Codes
    counts: Codes
    contexts: Codes
    totals: Codes
    distinct: Codes

    @classmethod
    def of(cls, text: ByteArray, order: int) -> "_Counts":
        grams, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
        for begin in range(0, len(text) - order + 1, CHUNK):
            found, times = np.unique(_codes(text[begin : begin + CHUNK + order - 1], order), return_counts=True)
            grams, inverse = np.unique(np.concatenate([grams, found]), return_inverse=True)
            summed = np.zeros(len(grams), np.int64)
            np.add.at(summed, inverse, np.concatenate([counts, times]))
            counts = summed
        contexts, first = np.unique(grams // BYTES, return_index=True)
        distinct = np.diff(np.append(first, len(grams)))
        totals = np.add.reduceat(counts, first) if len(first) else counts
        return cls(order, grams, counts, contexts, totals, distinct)

    def interpolated(self, text: ByteArray, scored: Codes, shorter: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """p_n of the scored bytes from their p_(n−1)."""
        if not len(self.grams) or len(text) < self.order:
            return shorter
        starts = scored - self.order + 1
        wanted = _codes(text, self.order)[np.maximum(starts, 0)]
        known, context = _places(self.contexts, wanted // BYTES)
        known &= starts >= 0
        seen, gram = _places(self.grams, wanted)
        count = np.where(seen, self.counts[gram], 0)
        distinct = self.distinct[context]
        longer = (count + distinct * shorter) / (self.totals[context] + distinct)
        return np.where(known, longer, shorter)


@lru_cache(maxsize=2 * LONGEST)
def counts_of_short(content: bytes, order: int) -> _Counts:
    """Of one text or two: a check trains many times on the same, and to count it takes longer than a few steps."""
    return _Counts.of(np.frombuffer(content, np.uint8), order)


def _codes(text: ByteArray, order: int) -> Codes:
    """The n-gram that begins at each place."""
    codes = np.zeros(max(0, len(text) - order + 1), np.int64)
    for offset in range(order):
        codes = codes * BYTES + text[offset : offset + len(codes)]
    return codes


def _places(keys: Codes, wanted: Codes) -> tuple[npt.NDArray[np.bool_], Codes]:
    """Which of `wanted` are among the sorted `keys`, and where; a place of one that is not means nothing."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return keys[places] == wanted, places
