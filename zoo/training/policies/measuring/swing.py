"""How far a loss swings: upwards on a fixed probe batch, and max over min of the raw training loss."""

import math
from collections.abc import Sequence


def upward_loss_ratio(steps: Sequence[int], values: Sequence[float], window: int, start: int = 0) -> float:
    """Largest value over the lowest before it, at most `window` steps back; 1 when the loss never rises.

    Only steps after `start` (the end of warmup) count. A value that is not finite is an infinite swing.
    Raises `ValueError` when `steps` and `values` differ in length.
    """
    points = [(step, value) for step, value in zip(steps, values, strict=True) if step > start]
    ratio = 1.0
    for i, (step, value) in enumerate(points):
        if not math.isfinite(value):
            return math.inf
        lowest = min(earlier for at, earlier in points[: i + 1] if at >= step - window)
        ratio = max(ratio, _over(value, lowest))
    return ratio


def raw_loss_ratio(values: Sequence[float], window: int, start: int = 0) -> float:
    """Largest max/min of the loss in any `window` consecutive steps; 1 when nothing was measured.

    `values[i]` belongs to step i + 1; steps up to `start` do not count. A value that is not finite is an infinite
    swing. Batch noise alone gives about 1.4 with 8 sequences a batch: reported beside the upward ratio, not bounded.
    """
    counted = values[start:]
    if not all(math.isfinite(value) for value in counted):
        return math.inf
    ratio = 1.0
    for i in range(len(counted)):
        seen = counted[max(0, i + 1 - window) : i + 1]
        ratio = max(ratio, _over(max(seen), min(seen)))
    return ratio


def _over(high: float, low: float) -> float:
    if low == 0:
        return 1.0 if high == 0 else math.inf
    return high / low
