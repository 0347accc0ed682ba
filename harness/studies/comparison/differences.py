"""What differs between specs: only those values, side by side."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cortexzoo.harness.runs.spec_changes import flattened
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.base import without_documentation

LEFT_OUT = ("name", "seed")
REASON = ".reason"


@dataclass(frozen=True)
class Difference:
    """One value that is not the same for all."""

    path: str
    values: tuple[Any, ...]
    """One a spec; `Absent` where the spec has no such key."""


class Absent:
    """Stands for a key that a spec does not have."""

    def __repr__(self) -> str:
        return "–"


ABSENT = Absent()


def spec_differences(experiments: Sequence[ExperimentSpec]) -> list[Difference]:
    """Every value that differs, by its dotted path in the order of the specs; names of experiments and seeds apart."""
    flat = [flattened(without_documentation(experiment.model_dump(mode="json"))) for experiment in experiments]
    paths = dict.fromkeys(path for values in flat for path in values)
    rows = [Difference(path, tuple(values.get(path, ABSENT) for values in flat)) for path in _gathered(paths)]
    return [
        row
        for row in rows
        if row.path not in LEFT_OUT and not row.path.endswith(REASON) and any(v != row.values[0] for v in row.values)
    ]


def _gathered(paths: Iterable[str]) -> list[str]:
    """`paths` with what lies below one mapping side by side, mappings in the order in which they first come."""
    known = list(paths)
    first: dict[str, int] = {}
    for index, path in enumerate(known):
        for end in range(1, path.count(".") + 2):
            first.setdefault(".".join(path.split(".")[:end]), index)

    def rank(path: str) -> list[int]:
        keys = path.split(".")
        return [first[".".join(keys[:end])] for end in range(1, len(keys) + 1)]

    return sorted(known, key=rank)
