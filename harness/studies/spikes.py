"""Counting the steps of a run whose loss stands out."""

import math
from collections import deque
from collections.abc import Iterable
from statistics import fmean

SPIKE_RATIO, SPIKE_WINDOW, SPIKE_HISTORY = 5.0, 100, 10
"""A spike, the same for every recipe: a training loss above 5 times the mean of the last 100 (Phase 1 document)."""


def count_spikes(losses: Iterable[float]) -> int:
    """How often a loss is above `SPIKE_RATIO` times the mean of those before it, or is not finite."""
    accepted: deque[float] = deque(maxlen=SPIKE_WINDOW)
    least = math.inf
    spikes = 0
    for loss in losses:
        # No mean lies below the least of all accepted losses: so only few means are computed.
        may_be = loss > SPIKE_RATIO * least and len(accepted) >= SPIKE_HISTORY
        if not math.isfinite(loss) or (may_be and loss > SPIKE_RATIO * fmean(accepted)):
            spikes += 1
        else:
            accepted.append(loss)
            least = min(least, loss)
    return spikes
