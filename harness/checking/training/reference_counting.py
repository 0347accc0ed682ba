"""Counting models of bytes, written out: what nothing but counts of the training part reaches."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

SMOOTHING, BYTES, LONGEST = 0.1, 256, 6


def losses_of_counting(train: bytes, held_out: bytes, places: Sequence[int]) -> dict[str, float]:
    """Cross-entropy of `held_out[places]` of one byte, of a byte after another, and of the best interpolated n-gram."""
    single, pairs = Counter(train), Counter(pairwise(train))
    firsts = Counter(train[:-1])

    def nats(shares: Iterable[float]) -> float:
        return -float(np.mean(np.log(list(shares))))

    return {
        "unigram_loss": nats((single[held_out[at]] + SMOOTHING) / (len(train) + BYTES * SMOOTHING) for at in places),
        "bigram_loss": nats(
            (pairs[held_out[at - 1], held_out[at]] + SMOOTHING) / (firsts[held_out[at - 1]] + BYTES * SMOOTHING)
            for at in places
        ),
        "ngram_loss": min(nats(_interpolated(train, held_out, places, order)) for order in range(1, LONGEST + 1)),
    }


def _interpolated(train: bytes, held_out: bytes, places: Sequence[int], order: int) -> list[float]:
    """Witten and Bell's method C, from the shortest context to that of `order` - 1 bytes."""
    after: dict[bytes, Counter[int]] = defaultdict(Counter)
    for length in range(order):
        for end in range(length, len(train)):
            after[train[end - length : end]][train[end]] += 1
    shares = []
    for at in places:
        share = 1 / BYTES
        for length in range(min(order - 1, at) + 1):
            seen = after.get(held_out[at - length : at])
            if seen is not None:
                share = (seen[held_out[at]] + len(seen) * share) / (seen.total() + len(seen))
        shares.append(share)
    return shares
