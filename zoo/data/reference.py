"""What counting bytes reaches: held-out cross-entropy of counting models of the training text."""

from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt

from cortexzoo.zoo.data.ngrams import Codes, interpolated_losses
from cortexzoo.zoo.data.order import ByteArray, Starts

BYTES = 256
SMOOTHING = 0.1
"""Added to every count. On the topics of Python 3.11 the held-out losses move by less than 0.005 for 0.01 … 0.2."""
CHUNK = 1 << 24


@dataclass(frozen=True)
class ReferenceLosses:
    """Held-out cross-entropy in nats a byte of the counting models."""

    unigram: float
    bigram: float
    ngram: float
    """Of the interpolated n-gram model whose order does best on these very positions: the hardest to beat."""
    ngram_order: int

    def scaled(self, factor: float) -> "ReferenceLosses":
        """The same losses in another unit."""
        scaled = {name: value * factor for name, value in asdict(self).items() if name != "ngram_order"}
        return replace(self, **scaled)


def reference_losses(train: ByteArray, validation: ByteArray, starts: Starts, sequence_length: int) -> ReferenceLosses:
    """As `losses_at`, on the targets of the validation windows at `starts`: each window's positions 1 … T."""
    places = (starts[:, None] + 1 + np.arange(sequence_length)[None, :]).ravel()
    return losses_at(train, validation, places)


def losses_at(train: ByteArray, text: ByteArray, places: Codes) -> ReferenceLosses:
    """Cross-entropy of `text[places]`, all places above 0, in nats a byte.

    p(y) = (n(y) + α) / (n + 256 α) and p(y | x) = (n(x, y) + α) / (n(x) + 256 α), with training counts n and α = 0.1
    (additive smoothing).
    """
    counted = _pair_counts(train)
    singles = counted.sum(axis=0) + SMOOTHING
    singles[train[0]] += 1
    pairs = counted + SMOOTHING
    unigram = -np.log(singles / singles.sum())
    bigram = -np.log(pairs / pairs.sum(axis=1, keepdims=True))
    scored = _scored_pairs(text, places)
    total = scored.sum()
    interpolated = interpolated_losses(train, text, places)
    return ReferenceLosses(
        unigram=float((scored.sum(axis=0) * unigram).sum() / total),
        bigram=float((scored * bigram).sum() / total),
        ngram=min(interpolated),
        ngram_order=1 + int(np.argmin(interpolated)),
    )


def _pair_counts(text: ByteArray) -> npt.NDArray[np.int64]:
    """How often byte x is followed by byte y: [x, y]. In chunks: pair codes take four times the text's room."""
    counts = np.zeros(BYTES * BYTES, dtype=np.int64)
    for begin in range(0, len(text) - 1, CHUNK):
        piece = text[begin : begin + CHUNK + 1].astype(np.int32)
        counts += np.bincount(piece[:-1] * BYTES + piece[1:], minlength=BYTES * BYTES)
    return counts.reshape(BYTES, BYTES)


def _scored_pairs(text: ByteArray, places: Codes) -> npt.NDArray[np.int64]:
    """Counts of (context, target) over all scored positions: [x, y]."""
    counts = np.zeros(BYTES * BYTES, dtype=np.int64)
    for begin in range(0, len(places), CHUNK):
        some = places[begin : begin + CHUNK]
        counts += np.bincount(text[some - 1].astype(np.int32) * BYTES + text[some], minlength=BYTES * BYTES)
    return counts.reshape(BYTES, BYTES)
