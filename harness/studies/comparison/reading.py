"""Reading finished runs: curves as arrays, the summary, the verdicts, the circumstances."""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from cortexzoo.harness.checking.verdict import VERDICT, Certificate
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.studies.spikes import count_spikes
from cortexzoo.harness.tracking.sampling import LOSS

NO_METRICS = frozenset({"step", "time"})


@dataclass(frozen=True)
class Series:
    """One metric of one run, where it was measured."""

    steps: Int[ndarray, " points"]
    values: Float[ndarray, " points"]


@dataclass(frozen=True)
class Record:
    """All that a comparison needs of one run."""

    path: Path
    seed: int
    spec_hash: str
    summary: dict[str, Any]
    manifest: dict[str, Any]
    certificate: Certificate | None
    """None: it was not checked, or training gave up before there was a model to check."""
    series: dict[str, Series]

    @property
    def gave_up(self) -> int | None:
        """The step at which training gave up; None: it took every step."""
        return self.summary.get("gave_up_at")

    @cached_property
    def spikes(self) -> float | None:
        """How many training losses stand out; None: none was recorded."""
        losses = self.series.get(LOSS)
        return None if losses is None else float(count_spikes(losses.values.tolist()))

    @cached_property
    def gate_shares(self) -> dict[str, float]:
        """Mean share of each live source over the last validation; empty without a gate."""
        return dict(self.summary.get("gate_shares") or {})


def read(run: Run) -> Record:
    """Read a run. Raises `RunFolderError` for a folder that is only half written."""
    manifest = run.manifest
    return Record(
        path=run.path,
        seed=int(manifest["seed"]),
        spec_hash=str(manifest["spec_hash"]),
        summary=run.summary,
        manifest=manifest,
        certificate=run.certificate if (run.path / VERDICT).is_file() else None,
        series=_of(run),
    )


def _of(run: Run) -> dict[str, Series]:
    """Of a run whose record is large the training loss, from which spikes are counted, and a sample of the others."""
    sample = run.sampled_metrics()
    if sample is None:
        return _series(run.each_metrics())
    return _series(line for _, line in sample.lines) | {LOSS: Series(sample.steps, sample.losses)}


def _series(lines: Iterable[Mapping[str, Any]]) -> dict[str, Series]:
    steps: defaultdict[str, array[int]] = defaultdict(lambda: array("q"))
    values: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))
    for line in lines:
        step = line["step"]
        for name, value in line.items():
            if name not in NO_METRICS:
                steps[name].append(step)
                values[name].append(value)
    return {name: Series(np.array(steps[name], np.int64), np.array(values[name], np.float64)) for name in values}
