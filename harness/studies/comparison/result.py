"""The comparison itself: every result with its runs, and what follows from them."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.harness.runs.other_load import OTHER_CORES
from cortexzoo.harness.studies.comparison.contenders import Contender
from cortexzoo.harness.studies.comparison.differences import ABSENT, Difference, spec_differences
from cortexzoo.harness.studies.comparison.measures import (
    FINAL_LOSS,
    LOSS_RATIO,
    SPEED,
    Measure,
    Spread,
    measures,
    with_unit_of,
)
from cortexzoo.harness.studies.comparison.reading import Record
from cortexzoo.specs.properties import PROPERTY_NAMES, RATIO_BOUND, Verdict


@dataclass(frozen=True)
class ContenderResult:
    """One contender with its runs."""

    label: str
    contender: Contender
    records: tuple[Record, ...]

    def judgements(self, name: str) -> list[tuple[Record, Judgement]]:
        """What was found on one property, run by run."""
        return [
            (record, judgement)
            for record in self.records
            if record.certificate is not None
            for judgement in record.certificate.judgements
            if judgement.name == name
        ]

    def applied(self, name: str) -> list[Verdict]:
        """The verdicts on one property, run by run, but for runs to which it did not apply."""
        return [judgement.verdict for _, judgement in self.judgements(name) if judgement.verdict != "skipped"]


@dataclass(frozen=True)
class VerdictCell:
    """The verdicts on one property over the runs of one contender."""

    text: str
    """`pass`, or `2 pass, 1 fail` where seeds disagree."""
    unexpected: bool
    """One of them is not the expected verdict."""


@dataclass(frozen=True)
class Comparison:
    """Contenders in the order in which they were named."""

    contenders: tuple[ContenderResult, ...]
    unequal: tuple[str, ...]
    """What is not equal between them and was allowed all the same."""
    command: tuple[str, ...]

    @property
    def records(self) -> list[Record]:
        """All runs."""
        return [record for result in self.contenders for record in result.records]

    @property
    def measures(self) -> list[Measure]:
        """The rows of the table."""
        return measures(self.records)

    @property
    def differences(self) -> list[Difference]:
        """The spec values that differ."""
        return spec_differences([result.contender.experiment for result in self.contenders])

    @property
    def properties(self) -> list[str]:
        """Every property that one of the runs was checked for."""
        tried = {j.name for r in self.records if r.certificate is not None for j in r.certificate.judgements}
        return [name for name in PROPERTY_NAMES if name in tried]

    @property
    def falsified(self) -> list[tuple[ContenderResult, Record, Judgement]]:
        """Every property that did not hold, with the case that shows it; one that was skipped does not count."""
        return [
            (result, record, judgement)
            for result in self.contenders
            for name in self.properties
            for record, judgement in result.judgements(name)
            if judgement.verdict in ("fail", "error")
        ]

    @property
    def unexpected(self) -> bool:
        """Whether a run has a verdict that its suite does not expect."""
        return any(record.certificate is not None and record.certificate.unexpected for record in self.records)

    def cell(self, name: str, result: ContenderResult) -> VerdictCell:
        """One cell of the verdict matrix."""
        found = [judgement for _, judgement in result.judgements(name)]
        counts = Counter(judgement.verdict for judgement in found)
        if not counts:
            return VerdictCell("–", unexpected=False)
        text = next(iter(counts)) if len(counts) == 1 else ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
        return VerdictCell(text, any(judgement.unexpected for judgement in found))

    def in_words(self) -> list[str]:
        """The answer in a few sentences: who is better by loss, who swings less, at what cost."""
        lines = [_best_by(self.contenders, measure, claim) for measure, claim in ANSWERS]
        lines.append(self._held())
        for result in self.contenders:
            if lost := [record for record in result.records if record.gave_up is not None]:
                steps = ", ".join(str(record.gave_up) for record in lost)
                lines.append(f"{result.label}: {len(lost)} of {len(result.records)} runs gave up, at step {steps}.")
        if self.unequal:
            lines.append(f"Read with care: {'; '.join(self.unequal)}.")
        if len({_circumstances(record) for record in self.records}) > 1:
            lines.append("The runs were not made in equal circumstances: compare speed and memory with care.")
        lines.append(self._unequal_speeds())
        return [line for line in lines if line]

    def _unequal_speeds(self) -> str:
        """A sentence where other work slowed some runs more than others."""
        cores = [record.summary.get(OTHER_CORES) for record in self.records if record.gave_up is None]
        known = [float(found) for found in cores if found is not None]
        if not known or max(known) - min(known) <= SPEED_TOLERANCE:
            return ""
        return (
            f"Speeds were measured unequally: other processes kept between {min(known):.1f} and {max(known):.1f} cores "
            "busy; train again with --jobs 1 to compare them."
        )

    def _held(self) -> str:
        """`Properties that hold for every seed: a 6 of 8, b 8 of 8.` What is skipped for every seed is not counted."""
        if not self.properties:
            return ""
        parts = []
        for result in self.contenders:
            tried = [result.applied(name) for name in self.properties]
            held = [all(verdict == "pass" for verdict in verdicts) for verdicts in tried if verdicts]
            parts.append(f"{result.label} {sum(held)} of {len(held)}")
        return f"Properties that hold for every seed: {', '.join(parts)}."

    def as_json(self) -> dict[str, Any]:
        """Everything but the curves."""
        return {
            "command": list(self.command),
            "answer": self.in_words(),
            "unequal": list(self.unequal),
            "variants": {result.label: self._contender_as_json(result) for result in self.contenders},
            "differences": {
                row.path: {
                    result.label: value
                    for result, value in zip(self.contenders, row.values, strict=True)
                    if value is not ABSENT
                }
                for row in self.differences
            },
        }

    def _contender_as_json(self, result: ContenderResult) -> dict[str, Any]:
        spreads = {measure.name: measure.spread(result.records) for measure in self.measures}
        return {
            "measures": {name: None if spread is None else asdict(spread) for name, spread in spreads.items()},
            "verdicts": {name: self.cell(name, result).text for name in self.properties},
            "runs": [
                {
                    "folder": str(record.path),
                    "seed": record.seed,
                    "spec_hash": record.spec_hash,
                    "measures": {measure.name: measure.of(record) for measure in self.measures},
                    "verdicts": None
                    if record.certificate is None
                    else {j.name: {"verdict": j.verdict, "expected": j.expected, "observed": j.observed,
                                   "reason": j.reason, "case": dict(j.case)}
                          for j in record.certificate.judgements},
                }
                for record in result.records
            ],
        }  # fmt: skip


SPEED_TOLERANCE = 0.5
"""Busy cores of other processes, by which runs may differ before their speeds count as unequal."""
ANSWERS = ((FINAL_LOSS, "Lowest held-out loss"), (LOSS_RATIO, "Smallest loss ratio"), (SPEED, "Fastest"))


def _best_by(contenders: Sequence[ContenderResult], measure: Measure, claim: str) -> str:
    """`Lowest held-out loss: a, 1.910 ± 0.004 (b 2.430 ± 0.010).`"""
    found = [(result, spread) for result in contenders if (spread := measure.spread(result.records)) is not None]
    if len(found) < 2:
        return ""
    sign = -1 if measure.better == "higher" else 1
    ranked = sorted(found, key=lambda pair: sign * pair[1].mean)
    (first, lowest), (_, second) = ranked[0], ranked[1]
    if not math.isfinite(lowest.mean):
        return ""
    others = ", ".join(f"{result.label} {measure.text(spread)}" for result, spread in ranked[1:])
    records = [record for result in contenders for record in result.records]
    unit = f" {with_unit_of(records, measure).unit}" if measure.unit else ""
    bounded = f"; all stay below {RATIO_BOUND:g}" if measure is LOSS_RATIO and _all_are_bounded(contenders) else ""
    return f"{claim}: {first.label}, {measure.text(lowest)}{unit} ({others}){_caution(lowest, second)}{bounded}."


def _all_are_bounded(contenders: Sequence[ContenderResult]) -> bool:
    """Of every run, not of means: one seed that exploded hides in a mean."""
    ratios = [LOSS_RATIO.of(record) for result in contenders for record in result.records]
    return all(ratio is not None and ratio < RATIO_BOUND for ratio in ratios)


def _caution(first: Spread, second: Spread) -> str:
    if first.sd is None or second.sd is None:
        return "; one seed shows no spread" if min(first.count, second.count) < 2 else ""
    close = abs(first.mean - second.mean) <= first.sd + second.sd
    return "; the difference lies within the spread of the seeds" if close else ""


def _circumstances(record: Record) -> str:
    kept = ("versions", "platform", "device", "threads")
    return str({key: record.manifest.get(key) for key in kept})
