"""Every use of an experiment's seed that draws random numbers, each with a stream of its own."""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """A stream of random numbers: the same seed and place give the same numbers, and no two streams share any.

    Each is a spawn key of `numpy.random.SeedSequence`. `TEXT` and `DOCUMENTS` are the exception: their seed is the list
    [seed, *place], which no spawn key can equal, and an experiment trains on one of them.
    """

    TEXT = 0
    """The order of the windows of a text, at (epoch)."""
    DOCUMENTS = 1
    """A task's documents, at (split, index)."""
    CONSOLIDATION = 2
    """Whether a step consolidates, at (step)."""
    DROPOUT = 3
    """Training's own generator, at (process)."""
    GAPS = 4
    """The order of a curriculum's gaps, at (stage, block)."""
    RESERVOIR = 5
    """Which examples are kept for sleep, at (step)."""
    SLEEP = 6
    """Dreams and their dropout, at (number of the sleep)."""
    REPLAY = 7
    """Which windows of an earlier text are kept, at (); which of them are read again, at (micro-batch)."""

    def seeds(self, seed: int, *place: int) -> np.random.SeedSequence:
        """The start of this stream at `place`."""
        if self in (Stream.TEXT, Stream.DOCUMENTS):
            return np.random.SeedSequence([seed, *place])
        return np.random.SeedSequence(seed, spawn_key=(int(self), *place))

    def generator(self, seed: int, *place: int) -> np.random.Generator:
        """A generator at `place`."""
        return np.random.default_rng(self.seeds(seed, *place))
