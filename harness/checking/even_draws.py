"""Whether what is drawn evenly comes about as often as it should."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

DEVIATIONS = 7.0
FEWEST = 2.0
"""Added to what may be off by chance: one draw of something rare proves nothing."""


def apart(what: str, times: float, count: float, share: float) -> Iterator[str]:
    """What came too often or too rarely, of so many draws that each bring it with this share."""
    if abs(times - count * share) > DEVIATIONS * math.sqrt(count * share * (1 - share)) + FEWEST:
        yield f"{what} {times:.0f} times of {count:.0f}, expected {count * share:.1f}"


def even(where: str, ranks: Sequence[int], count: int) -> Iterator[str]:
    """Numbers below `count`, each of which is as likely as the others: how often each came, and their mean."""
    often = Counter(ranks)
    for rank in range(count):
        yield from apart(f"{where} comes number {rank}", often[rank], len(ranks), 1 / count)
    middle, spread = (count - 1) / 2, math.sqrt((count**2 - 1) / 12 / len(ranks))
    if abs(sum(ranks) / len(ranks) - middle) > DEVIATIONS * spread + FEWEST / len(ranks):
        yield f"{where} come numbers around {sum(ranks) / len(ranks):.1f}, expected {middle:.1f}"
