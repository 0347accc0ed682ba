"""Which windows of an earlier text are kept for replay: a sample of those that were trained on, without a second."""

import math

import numpy as np

from cortexzoo.harness.checking.even_draws import DEVIATIONS, FEWEST
from cortexzoo.harness.checking.training.roles import LEAST_VOCABULARY, LENGTH, text_of_roles
from cortexzoo.specs.objective import ReservoirReplay
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.training.objectives.replay import build_replay

TRIALS = 200
"""Seeds."""


def unevenly_kept(replay: ReservoirReplay, trained_on: int) -> list[str]:
    """Of the windows that were trained on each is kept as often as the others, and once."""
    data: TextData = text_of_roles(LEAST_VOCABULARY)
    order, often = data.training_order(LENGTH, 0), np.zeros(trained_on)
    for seed in range(TRIALS):
        kept = build_replay(replay, trained_on, data, order, len(data.train), seed).kept
        if len(np.unique(kept)) != replay.windows or kept.min() < 0 or kept.max() >= trained_on:
            return [f"of {trained_on} windows {sorted(kept.tolist())} are kept"]
        often[kept] += 1
    share = replay.windows / trained_on
    most = DEVIATIONS * math.sqrt(TRIALS * share * (1 - share)) + FEWEST
    odd = np.flatnonzero(abs(often - TRIALS * share) > most)
    if not len(odd):
        return []
    return [f"window {odd[0] + 1} of {trained_on} was kept {int(often[odd[0]])} times in {TRIALS}"]
