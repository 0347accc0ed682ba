"""Which windows of the text make up a batch: pure functions of seed and position, so that any step can be resumed."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from cortexzoo.zoo.data.permutation import permuted
from cortexzoo.zoo.streams import Stream

ByteArray: TypeAlias = npt.NDArray[np.uint8]
Starts: TypeAlias = npt.NDArray[np.int64]


@runtime_checkable
class Sliceable(Protocol):
    """Tokens in memory or in a file."""

    def __len__(self) -> int: ...

    def __getitem__(self, places: Any, /) -> Any:
        """The tokens at an array of places, or of a slice, as an array."""


LISTED = 1 << 22
"""Windows of an epoch up to which their order is kept as a list."""


@dataclass(frozen=True)
class TrainingOrder:
    """An endless stream of training windows of `sequence_length` tokens and one target more.

    Each epoch shifts the grid of non-overlapping windows by a random offset and visits it in a random order; both
    follow from (seed, epoch) alone.
    """

    text_length: int
    sequence_length: int
    seed: int

    @property
    def windows_per_epoch(self) -> int:
        """As many as fit at every shift, at least one."""
        return max(1, (self.text_length - self.sequence_length) // self.sequence_length)

    def starts(self, first: int, count: int) -> Starts:
        """Start offsets of windows `first … first + count − 1` of the stream."""
        positions = np.arange(first, first + count)
        epochs, places = np.divmod(positions, self.windows_per_epoch)
        if self.windows_per_epoch > LISTED:
            return np.concatenate([self._unlisted(int(epoch), places[epochs == epoch]) for epoch in np.unique(epochs)])
        return np.array([self._epoch(int(e))[p] for e, p in zip(epochs, places, strict=True)], dtype=np.int64)

    def _unlisted(self, epoch: int, places: Starts) -> Starts:
        shift = _shift(self.text_length, self.sequence_length, self.windows_per_epoch, self.seed, epoch)
        return shift + permuted(places, self.windows_per_epoch, self.seed, epoch) * self.sequence_length

    def _epoch(self, epoch: int) -> Starts:
        return _shuffled_grid(self.text_length, self.sequence_length, self.windows_per_epoch, self.seed, epoch)


@lru_cache(maxsize=4)
def _shuffled_grid(text_length: int, sequence_length: int, windows: int, seed: int, epoch: int) -> Starts:
    generator = Stream.TEXT.generator(seed, epoch)
    room = text_length - 1 - windows * sequence_length
    shift = generator.integers(0, room, endpoint=True)
    grid: Starts = shift + generator.permutation(windows).astype(np.int64) * sequence_length
    return grid


def _shift(text_length: int, sequence_length: int, windows: int, seed: int, epoch: int) -> int:
    room = text_length - 1 - windows * sequence_length
    return int(Stream.TEXT.generator(seed, epoch).integers(0, room, endpoint=True))


@dataclass(frozen=True)
class DocumentOrder:
    """As `TrainingOrder`, of windows that begin with a document or a whole number of windows after its start."""

    starts_of_documents: Starts
    text_length: int
    sequence_length: int
    seed: int

    @cached_property
    def _ends_of_windows(self) -> Starts:
        """Windows up to the end of each document; every token but a document's first is a target once."""
        lengths = np.diff(np.append(self.starts_of_documents, self.text_length))
        return np.cumsum(-(-np.maximum(lengths - 1, 0) // self.sequence_length))

    @property
    def windows_per_epoch(self) -> int:
        """Of all documents, at least one."""
        return max(1, int(self._ends_of_windows[-1]))

    def starts(self, first: int, count: int) -> Starts:
        """Start offsets of windows `first … first + count − 1` of the stream."""
        epochs, places = np.divmod(np.arange(first, first + count), self.windows_per_epoch)
        parts = [
            permuted(places[epochs == epoch], self.windows_per_epoch, self.seed, int(epoch))
            for epoch in np.unique(epochs)
        ]
        return self.window_starts(np.concatenate(parts))

    def window_starts(self, numbers: Starts) -> Starts:
        """Where windows begin, by their number in the order of the text."""
        document = np.searchsorted(self._ends_of_windows, numbers, side="right")
        before = np.concatenate([np.zeros(1, np.int64), self._ends_of_windows])[document]
        found: Starts = self.starts_of_documents[document] + (numbers - before) * self.sequence_length
        return found

    def scored(self, starts: Starts) -> Bool[Tensor, "windows time"]:
        """Which inputs of the windows at `starts` have their target in the same document."""
        following = np.append(self.starts_of_documents, self.text_length)
        ends = following[np.searchsorted(following, starts, side="right")]
        return torch.from_numpy(np.arange(1, self.sequence_length + 1) < (ends - starts)[:, None])


def evenly_spread(windows: int, at_most: int | None) -> Starts:
    """Numbers of `at_most` windows, or of all when there are fewer."""
    if at_most is not None and at_most < windows:
        return ((np.arange(at_most) + 0.5) * windows / at_most).astype(np.int64)
    return np.arange(windows)


def validation_starts(text_length: int, sequence_length: int, at_most: int | None = None) -> Starts:
    """Starts of contiguous windows that do not overlap; `at_most` of them, evenly spread, when there are more."""
    return evenly_spread((text_length - 1) // sequence_length, at_most) * sequence_length


def cut_windows(text: Sliceable, starts: Starts, sequence_length: int) -> Int[Tensor, "windows time_and_target"]:
    """The windows as tokens: `sequence_length` inputs and, one further on, the last target."""
    offsets = starts[:, None] + np.arange(sequence_length + 1)[None, :]
    if len(starts):
        # The last window of a document may end with the text; what is beyond is not scored.
        offsets = np.minimum(offsets, len(text) - 1)
    return torch.from_numpy(text[offsets].astype(np.int64))
