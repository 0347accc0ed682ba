"""The guards again, from the documentation alone: which steps are refused, rolled back and counted, and the end."""

import math
from dataclasses import dataclass, field

import numpy as np

from cortexzoo.specs import guards

ROW = 8
"""Refusals in a row for values that are not finite, after which there is a rollback, or training ends."""
PHASE_1 = guards.AverageRatio()
"""The rule by which spikes are counted where none is refused."""


@dataclass(frozen=True)
class Seen:
    """One scripted step: its loss, and the norm of its gradient where it came to that."""

    loss: float
    norm: float


@dataclass
class Course:
    """What should become of a run."""

    taken: list[int] = field(default_factory=list)
    """Numbers of the steps that the optimiser took, those that were undone included."""
    refused: list[int] = field(default_factory=list)
    rollbacks: list[tuple[int, int, int]] = field(default_factory=list)
    """(step, step returned to, steps undone)."""
    new_levels: list[int] = field(default_factory=list)
    loss_spikes: int = 0
    gradient_spikes: int = 0
    not_finite: int = 0
    stopped_at: int | None = None

    @property
    def undone(self) -> int:
        return sum(undone for _, _, undone in self.rollbacks)


@dataclass
class _Point:
    step: int
    taken: int
    losses: list[float]
    norms: list[float]


class ReferenceGuards:
    """Follows scripted steps one by one."""

    def __init__(self, spikes: guards.SpikeSpec, recovery: guards.RecoverySpec) -> None:
        self.refuses = not isinstance(spikes, guards.NoSpikeDetection)
        self.rule = spikes if isinstance(spikes, guards.AverageRatio | guards.RobustDeviation) else PHASE_1
        self.recovery = recovery if isinstance(recovery, guards.RecoveryCheckpoints) else None
        self.course = Course()
        self.point = _Point(0, 0, [], [])
        self.losses: list[float] = []
        self.norms: list[float] = []
        """Logarithms."""
        self.taken = self.spiking = self.broken = 0
        self.has_returned = False

    def step(self, number: int, seen: Seen) -> None:
        """Decide about one step. After `course.stopped_at` is set nothing more is to be asked."""
        fate = self._fate(number, seen)
        if fate == "take":
            self._take(number, seen)
            return
        self.course.refused.append(number)
        back = fate == "return"
        if fate == "not finite":
            self.course.not_finite += 1
            self.broken += 1
            if self.broken >= ROW:
                if self.recovery is None or self.has_returned:
                    self.course.stopped_at = number
                else:
                    back = self.has_returned = True
        if back:
            self._return(number)

    def _fate(self, number: int, seen: Seen) -> str:
        for what in ("loss", "norm"):
            value = getattr(seen, what)
            if not math.isfinite(value):
                return "not finite"
            if value <= self.limit(what):
                continue
            self.course.loss_spikes += what == "loss"
            self.course.gradient_spikes += what == "norm"
            if not self.refuses:
                continue
            if self.spiking == self.rule.rebaseline_after:
                self.course.new_levels.append(number)
                self.spiking, self.losses, self.norms = 0, [], []
                continue
            self.spiking += 1
            decisive = 1 if self.rule.action == "rollback" else self.rule.rebaseline_after
            return "return" if self.recovery is not None and self.spiking == decisive else "refuse"
        return "take"

    def limit(self, what: str) -> float:
        """The highest loss or gradient norm that is no spike."""
        rule, known = self.rule, self.losses if what == "loss" else self.norms
        if len(known) < rule.min_history:
            return math.inf
        if isinstance(rule, guards.AverageRatio):
            return rule.ratio * sum(known) / len(known) if what == "loss" else math.inf
        median = float(np.median(known))
        spread = 1.4826 * float(np.median([abs(one - median) for one in known]))
        if what == "loss":
            return median + rule.deviations * max(spread, rule.relative_floor * abs(median))
        return math.exp(median + rule.gradient_deviations * max(spread, rule.relative_floor))

    def _take(self, number: int, seen: Seen) -> None:
        self.course.taken.append(number)
        self.taken += 1
        self.spiking = self.broken = 0
        self.has_returned = False
        window = self.rule.window
        self.losses = [*self.losses, seen.loss][-window:]
        self.norms = [*self.norms, math.log(seen.norm)][-window:]
        if self.recovery is not None and self.taken - self.point.taken >= self.recovery.every:
            self.point = point_now(self, number)

    def _return(self, number: int) -> None:
        assert self.recovery is not None
        self.course.rollbacks.append((number, self.point.step, self.taken - self.point.taken))
        self.taken, self.losses, self.norms = self.point.taken, self.point.losses, self.point.norms
        self.broken = 0
        recent = [at for at, _, _ in self.course.rollbacks if at > number - self.recovery.storm_window]
        if len(recent) >= self.recovery.storm_limit:
            self.course.stopped_at = number


def point_now(followed: ReferenceGuards, number: int) -> _Point:
    """What a rollback would return to, were it taken after step `number`."""
    return _Point(number, followed.taken, followed.losses, followed.norms)
