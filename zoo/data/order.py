"""Which windows of the text make up a batch: pure functions of seed and position, so that any step can be resumed."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int
from torch import Tensor

from cortexzoo.zoo.streams import Stream

ByteArray: TypeAlias = npt.NDArray[np.uint8]
Starts: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TrainingOrder:
    """An endless stream of training windows of `sequence_length` bytes and one target more.

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
        return np.array([self._epoch(int(e))[p] for e, p in zip(epochs, places, strict=True)], dtype=np.int64)

    def _epoch(self, epoch: int) -> Starts:
        return _shuffled_grid(self.text_length, self.sequence_length, self.windows_per_epoch, self.seed, epoch)


@lru_cache(maxsize=4)
def _shuffled_grid(text_length: int, sequence_length: int, windows: int, seed: int, epoch: int) -> Starts:
    generator = Stream.TEXT.generator(seed, epoch)
    room = text_length - 1 - windows * sequence_length
    shift = generator.integers(0, room, endpoint=True)
    grid: Starts = shift + generator.permutation(windows).astype(np.int64) * sequence_length
    return grid


def validation_starts(text_length: int, sequence_length: int, at_most: int | None = None) -> Starts:
    """Starts of contiguous windows that do not overlap; `at_most` of them, evenly spread, when there are more."""
    windows = (text_length - 1) // sequence_length
    chosen = np.arange(windows)
    if at_most is not None and at_most < windows:
        chosen = ((np.arange(at_most) + 0.5) * windows / at_most).astype(np.int64)
    return chosen * sequence_length


def cut_windows(text: ByteArray, starts: Starts, sequence_length: int) -> Int[Tensor, "windows time_and_target"]:
    """The windows as tokens: `sequence_length` inputs and, one further on, the last target."""
    offsets = starts[:, None] + np.arange(sequence_length + 1)[None, :]
    return torch.from_numpy(text[offsets].astype(np.int64))
