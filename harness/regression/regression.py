"""Regression: the verdicts on the shipped experiments against those that were committed."""

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import stdev
from typing import Any

from cortexzoo.harness.checking.effort import PROFILES
from cortexzoo.harness.checking.verdict import Certificate
from cortexzoo.harness.errors import UserError
from cortexzoo.harness.parallel.workers import in_processes
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.properties import Verdict

COMMITTED = Path(__file__).parents[1] / "certificates"
PROFILE = PROFILES["ci"]


class CommittedError(UserError):
    """A committed certificate that is missing or cannot be read. The message is one line."""


@dataclass(frozen=True)
class Word:
    """What is compared of a judgement: the verdict, and the version of what the property means."""

    verdict: Verdict
    version: int

    def __str__(self) -> str:
        return f"{self.verdict} (version {self.version})"


TIMED = "linear_time"
"""The one property that reads a clock: its numbers are of a machine and an hour."""


PRINTED = 1e-4
"""Of a number: its fourth digit."""


@dataclass(frozen=True)
class Band:
    """Where a property's observed value lies: between the extremes of some seeds, and a standard deviation beyond.

    A value that is the same with every seed has no deviation: of it the digits count that are printed.
    """

    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Band":
        """Of the values of two seeds or more."""
        spread = stdev(values)
        return cls(min(values) - spread, max(values) + spread)

    def __contains__(self, value: float) -> bool:
        slack = PRINTED * max(abs(self.low), abs(self.high))
        return self.low - slack <= value <= self.high + slack

    def __str__(self) -> str:
        return f"{self.low:.4g} to {self.high:.4g}"


@dataclass(frozen=True)
class Committed:
    """The verdicts on one experiment and the bands of its numbers: the content of `harness/certificates/NAME.json`."""

    spec_hash: str
    words: Mapping[str, Word]
    bands: Mapping[str, Band] = field(default_factory=dict)
    """Of what gave a number with every seed, but no clock; none before several seeds were measured."""
    training_hash: str = ""
    """Of the spec without its suite."""

    @classmethod
    def of(
        cls, spec_hash: str, certificate: Certificate, others: Sequence[Certificate] = (), training_hash: str = ""
    ) -> "Committed":
        """What is committed of a certificate, with bands where `others`, of further seeds, are given."""
        words: dict[str, Word] = {j.name: Word(j.verdict, j.version) for j in certificate.judgements}
        return cls(spec_hash, words, _bands([certificate, *others]) if others else {}, training_hash)

    def with_bands_of(self, earlier: "Committed") -> "Committed":
        """With the earlier bands of what means the same: those of another training or version are void."""
        if earlier.training_hash != self.training_hash:
            return self
        same = {name for name, word in earlier.words.items() if self.words.get(name) == word}
        return replace(self, bands={name: band for name, band in earlier.bands.items() if name in same})

    @classmethod
    def read(cls, name: str, folder: Path) -> "Committed":
        """Raises `CommittedError` when there is none, or none that can be read."""
        path = folder / f"{name}.json"
        again = f"`cortexzoo regression {name} --write` writes one"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            entries = content["properties"]
            words = {key: Word(entry["verdict"], entry["version"]) for key, entry in entries.items()}
            bands = {key: Band(*map(float, entry["band"])) for key, entry in entries.items() if "band" in entry}
            return cls(content["spec_hash"], words, bands, content["training_hash"])
        except FileNotFoundError:
            raise CommittedError(f"{name}: has no committed certificate ({path}): {again}") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
            raise CommittedError(f"{path}: is no committed certificate: {again}") from problem

    def write(self, name: str, folder: Path) -> Path:
        """One line a property, by name. Raises `OSError`."""
        path = folder / f"{name}.json"
        lines = [f'    "{key}": {json.dumps(self._entry(key))}' for key in sorted(self.words)]
        hashes = f'"spec_hash": "{self.spec_hash}",\n  "training_hash": "{self.training_hash}"'
        head = f'{{\n  "experiment": "{name}",\n  {hashes},\n  "properties": {{\n'
        folder.mkdir(exist_ok=True)
        path.write_text(head + ",\n".join(lines) + "\n  }\n}\n", encoding="utf-8", newline="\n")
        return path

    def _entry(self, name: str) -> dict[str, Any]:
        word, band = self.words[name], self.bands.get(name)
        limits = {} if band is None else {"band": [band.low, band.high]}
        return {"verdict": word.verdict, "version": word.version, **limits}


def _bands(certificates: Sequence[Certificate]) -> dict[str, Band]:
    found: defaultdict[str, list[float]] = defaultdict(list)
    for certificate in certificates:
        for judgement in certificate.judgements:
            if judgement.name != TIMED and judgement.observed is not None and math.isfinite(judgement.observed):
                found[judgement.name].append(judgement.observed)
    return {name: Band.of(values) for name, values in found.items() if len(values) == len(certificates)}


@dataclass(frozen=True)
class Change:
    """One property whose word is another than the committed one. None: there it has no word at all."""

    name: str
    then: Word | None
    now: Word | None
    reason: str


@dataclass(frozen=True)
class Checked:
    """The result of one experiment: its certificate, or why its training ended early."""

    experiment: ExperimentSpec
    certificate: Certificate | None
    gave_up: str = ""


def changes(then: Committed, now: Certificate) -> list[Change]:
    """Every property whose verdict or version differs, that is new, or that is gone."""
    by_name = {judgement.name: judgement for judgement in now.judgements}
    found = []
    for name, word in Committed.of("", now).words.items():
        if word != then.words.get(name):
            found.append(Change(name, then.words.get(name), word, by_name[name].reason))  # type: ignore[index]
    gone = [name for name in then.words if name not in by_name]
    return found + [Change(name, then.words[name], None, "the suite has it no more") for name in gone]


@dataclass(frozen=True)
class Drift:
    """A number outside its band, with the verdict that was committed."""

    name: str
    observed: float
    band: Band


def drifts(then: Committed, now: Certificate) -> list[Drift]:
    """The numbers that left their band while the verdict stayed."""
    return [
        Drift(judgement.name, judgement.observed, band)
        for judgement in now.judgements
        if (band := then.bands.get(judgement.name)) is not None
        and judgement.observed is not None
        and judgement.observed not in band
        and then.words[judgement.name] == Word(judgement.verdict, judgement.version)
    ]


def check_all(experiments: Sequence[ExperimentSpec], folder: Path, jobs: int) -> Iterator[Checked]:
    """Train what is missing in `folder`, and judge each experiment, as many at once as `jobs`; in any order.

    Each works on one thread, so that the number of jobs changes nothing. Raises what training raises, but for training
    that gave up for numeric reasons, which is a result.
    """
    tasks = [(spec, partial(_check, spec.canonical_json(), folder)) for spec in experiments]
    for spec, (content, gave_up) in in_processes(tasks, jobs):
        yield Checked(spec, None if content is None else Certificate.from_json(content), gave_up)


def _check(spec: str, folder: Path) -> tuple[dict[str, Any] | None, str]:
    import logging
    import warnings

    from cortexzoo.harness.checking.judge import judge_all
    from cortexzoo.harness.runs.cache import cached_training
    from cortexzoo.harness.runs.options import UNTRACKED
    from cortexzoo.harness.runs.train import subject_of
    from cortexzoo.zoo.errors import TrainingStopped

    warnings.simplefilter("ignore")
    experiment = ExperimentSpec.from_json(spec)
    try:
        run = cached_training(experiment, folder, replace(UNTRACKED, warn=logging.getLogger(__name__).warning))
    except TrainingStopped as problem:
        return None, str(problem)
    return judge_all(subject_of(run), experiment.suite, {}, effort=PROFILE.effort()).as_json(), ""
