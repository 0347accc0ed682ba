"""Regression: the verdicts on the shipped experiments against those that were committed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from cortexzoo.harness.checking.effort import PROFILES
from cortexzoo.harness.checking.verdict import Certificate
from cortexzoo.harness.errors import UserError
from cortexzoo.harness.parallel.workers import in_processes
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.suite import Verdict

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


@dataclass(frozen=True)
class Committed:
    """The verdicts on one experiment, without numbers and times: the content of `harness/certificates/NAME.json`."""

    spec_hash: str
    words: Mapping[str, Word]

    @classmethod
    def of(cls, spec_hash: str, certificate: Certificate) -> "Committed":
        """What is committed of a certificate."""
        return cls(spec_hash, {j.name: Word(j.verdict, j.version) for j in certificate.judgements})

    @classmethod
    def read(cls, name: str, folder: Path) -> "Committed":
        """Raises `CommittedError` when there is none, or none that can be read."""
        path = folder / f"{name}.json"
        again = f"`cortexzoo regression {name} --write` writes one"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            words = {key: Word(entry["verdict"], entry["version"]) for key, entry in content["properties"].items()}
            return cls(content["spec_hash"], words)
        except FileNotFoundError:
            raise CommittedError(f"{name}: has no committed certificate ({path}): {again}") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
            raise CommittedError(f"{path}: is no committed certificate: {again}") from problem

    def write(self, name: str, folder: Path) -> Path:
        """One line a property, by name. Raises `OSError`."""
        path = folder / f"{name}.json"
        lines = [
            f'    "{key}": {json.dumps({"verdict": word.verdict, "version": word.version})}'
            for key, word in sorted(self.words.items())
        ]
        head = f'{{\n  "experiment": "{name}",\n  "spec_hash": "{self.spec_hash}",\n  "properties": {{\n'
        folder.mkdir(exist_ok=True)
        path.write_text(head + ",\n".join(lines) + "\n  }\n}\n", encoding="utf-8", newline="\n")
        return path


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

    @property
    def committed(self) -> Committed:
        """What would be committed of it."""
        assert self.certificate is not None
        return Committed.of(self.experiment.hash(), self.certificate)


def changes(then: Committed, now: Certificate) -> list[Change]:
    """Every property whose verdict or version differs, that is new, or that is gone."""
    by_name = {judgement.name: judgement for judgement in now.judgements}
    found = []
    for name, word in Committed.of("", now).words.items():
        if word != then.words.get(name):
            found.append(Change(name, then.words.get(name), word, by_name[name].reason))  # type: ignore[index]
    gone = [name for name in then.words if name not in by_name]
    return found + [Change(name, then.words[name], None, "the suite has it no more") for name in gone]


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
