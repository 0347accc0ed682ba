"""Learning-rate schedules as pure functions of the number of steps already taken."""

import math

from cortexzoo.specs.recipe import Constant, Cosine, CosineRestarts, ScheduleSpec, Trapezoid


def rate_factor(schedule: ScheduleSpec, taken: int, steps: int) -> float:
    """The factor on the learning rate for the step after `taken` steps of a recipe of `steps`.

    Warmup climbs linearly and reaches 1 in its last step; cosine and trapezoid end at `final_ratio`.
    Restarts: 0.5 (1 + cos(π t / period)), t counted from the last restart. Source: Loshchilov & Hutter 2017,
    arXiv:1608.03983, Eq. 5.
    """
    warmup = warmup_steps(schedule, steps)
    if taken < warmup:
        return (taken + 1) / warmup
    match schedule:
        case Cosine(final_ratio=final):
            progress = min(1.0, (taken + 1 - warmup) / (steps - warmup))
            return final + (1 - final) * _half_cosine(progress)
        case CosineRestarts(period=period, multiplier=multiplier):
            while taken >= period:
                taken -= period
                period *= multiplier
            return _half_cosine(taken / period)
        case Constant():
            return 1.0
        case Trapezoid(decay_ratio=decay, final_ratio=final):
            falling = round(decay * steps)
            return 1.0 if not falling else final + (1 - final) * min(1.0, (steps - 1 - taken) / falling)


def warmup_steps(schedule: ScheduleSpec, steps: int) -> int:
    """Number of warmup steps; always fewer than `steps`."""
    match schedule:
        case Cosine(warmup_ratio=ratio) | Constant(warmup_ratio=ratio) | Trapezoid(warmup_ratio=ratio):
            return min(round(ratio * steps), steps - 1)
        case CosineRestarts():
            return 0


def _half_cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))
