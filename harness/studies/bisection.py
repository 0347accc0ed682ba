"""The smallest set of spec values that flips a verdict: delta debugging over the difference of two experiments.

Source: Zeller and Hildebrandt 2002, Simplifying and Isolating Failure-Inducing Input, IEEE TSE 28(2), algorithm ddmin.
"""

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.harness.parallel.train_missing import train_missing
from cortexzoo.harness.runs.train import subject_of
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.base import without_documentation
from cortexzoo.specs.properties import PropertyName
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.errors import TrainingError

Answer = Literal["good", "bad", "neither"]
APART = ("name", "suite")
"""What a training does not depend on."""
KINDS = ("kind", "family")
"""Two parts in which one of these differs have other fields: they are one value."""
MISSING = object()


@dataclass(frozen=True)
class Part:
    """One value in which two experiments differ; a part of another kind is one value."""

    path: tuple[str, ...]
    good: Any
    bad: Any

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}: {_in_words(self.good)} → {_in_words(self.bad)}"


def _in_words(value: Any) -> str:
    return "–" if value is MISSING else json.dumps(value, ensure_ascii=False)


def parts(good: ExperimentSpec, bad: ExperimentSpec) -> list[Part]:
    """The values that differ, in the order of the specs; names and suites left out."""
    before, after = (without_documentation(spec.model_dump(mode="json")) for spec in (good, bad))
    return list(_parts(before, after, ()))


def _parts(good: Any, bad: Any, path: tuple[str, ...]) -> Iterator[Part]:
    alike = isinstance(good, Mapping) and isinstance(bad, Mapping) and all(good.get(k) == bad.get(k) for k in KINDS)
    if not alike:
        if good != bad:
            yield Part(path, good, bad)
        return
    for key in dict.fromkeys((*good, *bad)):
        if key not in APART:
            yield from _parts(good.get(key, MISSING), bad.get(key, MISSING), (*path, key))


def changed(good: ExperimentSpec, chosen: Sequence[Part]) -> ExperimentSpec:
    """The good experiment with some of the bad values. Raises pydantic's `ValidationError` where they do not fit."""
    content = copy.deepcopy(good.model_dump(mode="json"))
    for part in chosen:
        *above, last = part.path
        node = content
        for key in above:
            node = node[key]
        if part.bad is MISSING:
            del node[last]
        else:
            node[last] = part.bad
    _without_provenance(content)
    return ExperimentSpec.from_json(json.dumps(content))


def _without_provenance(node: Any) -> None:
    """It names fields that may be gone."""
    for value in node.values() if isinstance(node, dict) else ():
        _without_provenance(value)
    if isinstance(node, dict):
        node.pop("provenance", None)


def smallest(wanted: Sequence[Part], ask: Callable[[Sequence[Part]], Answer]) -> list[Part]:
    """A set of parts that is bad, and of which no part can be left out. `ask` must call all of `wanted` bad."""
    known: dict[tuple[Part, ...], Answer] = {}

    def is_bad(chosen: Sequence[Part]) -> bool:
        key = tuple(chosen)
        if key not in known:
            known[key] = ask(chosen)
        return known[key] == "bad"

    kept, pieces = list(wanted), 2
    while len(kept) > 1:
        split = [kept[len(kept) * n // pieces : len(kept) * (n + 1) // pieces] for n in range(pieces)]
        rests = [[part for part in kept if part not in piece] for piece in split]
        if (one := next(filter(is_bad, split), None)) is not None:
            kept, pieces = one, 2
        elif pieces > 2 and (rest := next(filter(is_bad, rests), None)) is not None:
            kept, pieces = rest, max(pieces - 1, 2)
        elif pieces < len(kept):
            pieces = min(2 * pieces, len(kept))
        else:
            break
    return kept


@dataclass
class Asked:
    """Trains experiments, or finds them trained, and judges one property of each."""

    property: PropertyName
    runs: Path
    tell: Callable[[str], None] = lambda _: None
    count: int = 0
    last: Judgement | None = None

    def of(self, experiment: ExperimentSpec) -> Answer:
        """Whether the property fails; a training that gives up answers neither."""
        self.count += 1
        try:
            ((_, run),) = train_missing([experiment], self.runs, jobs=1)
        except TrainingError as problem:
            self.tell(f"{self.count}: not trained: {problem}")
            return "neither"
        self.last = judge(REGISTRY[self.property], Check(), subject_of(run))
        self.tell(f"{self.count}: {self.last.verdict}: {self.last.reason}")
        return {"pass": "good", "fail": "bad"}.get(self.last.verdict, "neither")  # type: ignore[return-value]

    def with_parts(self, good: ExperimentSpec, chosen: Sequence[Part]) -> Answer:
        """The same of the good experiment with some parts of the bad one; values that do not fit answer neither."""
        names = ", ".join(".".join(part.path) for part in chosen)
        try:
            experiment = changed(good, chosen)
        except ValidationError:
            self.tell(f"–: does not fit together: {names}")
            return "neither"
        self.tell(f"try {names}")
        return self.of(experiment)
