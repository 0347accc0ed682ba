"""What runs are compared by: losses, swings, spikes, speed, memory, size, recall, gates; mean and spread over seeds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Literal

from cortexzoo.harness.studies.comparison.reading import Record

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Spread:
    """Mean over seeds and sample standard deviation; None: fewer than two values."""

    mean: float
    sd: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        """None for no value at all. A value that is not finite makes the mean infinite, and there is no spread."""
        if not values:
            return None
        if not all(math.isfinite(value) for value in values):
            return cls(math.inf, None, len(values))
        return cls(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


PER_BYTE, PER_ANSWER = "nats a byte", "nats a token"
"""Held-out losses: of a text for each of its bytes, of a task for each token of an answer."""


@dataclass(frozen=True)
class Measure:
    """One row of the comparison."""

    name: str
    unit: str
    of: Callable[[Record], float | None]
    """Of one run; None: it was not measured."""
    better: Literal["lower", "higher"] | None = None
    digits: int = 3

    def spread(self, records: Sequence[Record]) -> Spread | None:
        """Over the runs of one contender."""
        return Spread.of([value for record in records if (value := self.of(record)) is not None])

    def text(self, spread: Spread | None) -> str:
        """`1.234 ± 0.005`; without a spread where there is none."""
        if spread is None:
            return "–"
        if not math.isfinite(spread.mean):
            return "not finite"
        mean = f"{spread.mean:,.{self.digits}f}"
        return mean if not spread.sd else f"{mean} ± {spread.sd:,.{self.digits}f}"


def measures(records: Sequence[Record]) -> list[Measure]:
    """The rows for these runs: the fixed ones, recall where a task was trained, the gate share of each source."""
    sources = dict.fromkeys(source for record in records for source in record.gate_shares)
    recalled = [RECALL] if any(record.summary.get("recall") for record in records) else []
    fixed = [with_unit_of(records, measure) for measure in FIXED]
    return [*fixed, *recalled, *(_gate_share(source) for source in sources)]


def with_unit_of(records: Sequence[Record], measure: Measure) -> Measure:
    """The measure with the unit that held-out losses have in these runs."""
    if measure.unit != PER_BYTE or not any(record.summary.get("recall") for record in records):
        return measure
    return replace(measure, unit=PER_ANSWER)


def _held_out(record: Record) -> float | None:
    return math.inf if record.gave_up is not None else record.summary.get("validation_loss")


def _best(record: Record) -> float | None:
    return math.inf if record.gave_up is not None else record.summary.get("best_validation_loss")


def _test(record: Record) -> float | None:
    return math.inf if record.gave_up is not None else record.summary.get("test_loss")


def _summary(name: str, scale: float = 1.0) -> Callable[[Record], float | None]:
    def value(record: Record) -> float | None:
        found = record.summary.get(name)
        return None if found is None else float(found) / scale

    return value


def _gate_share(source: str) -> Measure:
    return Measure(f"gate share, {source.replace('_', ' ')}", "", lambda record: record.gate_shares.get(source))


def _loss_ratio(record: Record) -> float | None:
    return math.inf if record.gave_up is not None else record.summary.get("loss_ratio")


def _recall(record: Record) -> float | None:
    """Over the task's longest gap; a run that gave up answers nothing."""
    if record.gave_up is not None:
        return 0.0
    by_gap = next(iter((record.summary.get("recall") or {}).values()), None)
    return None if by_gap is None else 100 * float(by_gap[max(by_gap, key=int)])


FINAL_LOSS = Measure("held-out loss, last", PER_BYTE, _held_out, "lower")
LOSS_RATIO = Measure("loss ratio", "", _loss_ratio, "lower")
SPEED = Measure("speed", "tokens a second", _summary("tokens_per_second"), "higher", 0)
RECALL = Measure("answers right, longest gap", "%", _recall, "higher", 1)

FIXED = (
    FINAL_LOSS,
    Measure("held-out loss, best", PER_BYTE, _best, "lower"),
    Measure("test loss", PER_BYTE, _test, "lower"),
    LOSS_RATIO,
    Measure("loss spikes", "a run", lambda record: record.spikes, "lower", 1),
    Measure("refused steps", "a run", _summary("steps_refused"), "lower", 1),
    Measure("recoveries", "a run", _summary("rollbacks"), None, 1),
    SPEED,
    Measure("peak memory", "MiB", _summary("peak_memory_bytes", MEBIBYTE), "lower", 0),
    Measure("parameters", "", _summary("parameters"), "lower", 0),
)
"""Spikes are counted by one rule for all (above 5 times the mean of the 100 losses before), whatever guard there is."""
