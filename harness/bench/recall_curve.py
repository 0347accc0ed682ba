"""Recall of a trained hybrid by gap.

Measures recall of each run's model, over gaps of up to a million tokens streamed in constant memory, and
again with one cause of forgetting taken away: the memory does not fade, nothing of the gap is written, or everything is
computed in float64. What then rises was what limited it.
"""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cortexzoo.harness.errors import UserError
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.zoo.build import load_data
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.data.tasks.recall_measure import recall_at
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.interface import TOKENS_AT_ONCE

GAPS = "1,4,16,64,256,550,1000,2000,4000,8000,15625"
OPEN, SHUT = 40.0, -1e4
"""Gate biases: sigmoid(40) is 1 and sigmoid(-1e4) is 0 in float32."""

Predict = Callable[[Tensor, Any], tuple[Tensor, Any]]


@dataclass(frozen=True)
class Cause:
    """One way of asking: as trained, or with a cause of forgetting taken away."""

    name: str
    predictor: Callable[[Hybrid, tuple[int, int]], Predict]
    """From a model and where the gap's chunks begin and end."""


def as_trained(model: Hybrid, _gap: tuple[int, int]) -> Predict:
    def predict(tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        output = model(tokens, state)
        return output.logits, output.state

    return predict


def without_fading(model: Hybrid, gap: tuple[int, int]) -> Predict:
    lasting = copy.deepcopy(model)
    for layer in lasting.sidecars:
        _fix(lasting.sidecar(layer).memory.gates.decay, OPEN)
    return as_trained(lasting, gap)


def without_noise(model: Hybrid, gap: tuple[int, int]) -> Predict:
    """Between facts and questions nothing is written; the memory fades as it did."""
    muted = copy.deepcopy(model)
    for layer in muted.sidecars:
        _fix(muted.sidecar(layer).memory.gates.write, SHUT)
    begin, end = gap

    def predict(tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        place = 0 if state is None else state.position
        cuts = sorted({0, tokens.shape[1], *(c - place for c in gap if 0 < c - place < tokens.shape[1])})
        logits = []
        for first, last in pairwise(cuts):
            reader = muted if begin <= place + first < end else model
            output = reader(tokens[:, first:last], state)
            state = output.state
            logits.append(output.logits)
        return torch.cat(logits, dim=1), state

    return predict


def _fix(gate: torch.nn.Linear, bias: float) -> None:
    """The same for every token."""
    torch.nn.init.zeros_(gate.weight)
    torch.nn.init.constant_(gate.bias, bias)


def in_float64(model: Hybrid, gap: tuple[int, int]) -> Predict:
    return as_trained(copy.deepcopy(model).double(), gap)


CAUSES = (
    Cause("as trained", as_trained),
    Cause("without fading", without_fading),
    Cause("nothing of the gap written", without_noise),
    Cause("in float64", in_float64),
)


def chunks_of(gaps: str) -> list[int]:
    """Raises `UserError`."""
    asked = [int(gap) if gap.strip().isdecimal() else 0 for gap in gaps.split(",")]
    if min(asked) < 1:
        raise UserError(f"--gaps: must be chunks, 1 or more each, separated by commas, got {gaps!r}")
    return asked


@dataclass(frozen=True)
class Curve:
    """Shares of answers right, by cause and gap one for each run."""

    name: str
    chunk: int
    recall: Mapping[str, Mapping[int, Sequence[float]]]
    tokens_a_second: float
    """Of processor time, the median of all measurements."""

    def rows(self, gaps: Sequence[int]) -> list[tuple[str, ...]]:
        """The gap in chunks and in tokens, then the shares of each cause."""
        return [
            (f"{gap:,}", f"{gap * self.chunk:,}", *(" ".join(f"{s:.3f}" for s in c[gap]) for c in self.recall.values()))
            for gap in gaps
        ]


def measured(
    runs: Sequence[Path],
    gaps: Sequence[int],
    documents: int,
    *,
    causes: bool,
    checkpoint: str,
    report: Callable[[str], None],
) -> Curve:
    """The curve of all runs; `report` receives a line about each measurement.

    Raises `UserError` for a run of another model, or of a text.
    """
    found: dict[str, dict[int, list[float]]] = {}
    speeds: list[float] = []
    chunk, name = 0, ""
    for path in runs:
        run = Run.open(path)
        model, _ = run.load_model(checkpoint)
        data = load_data(run.spec)
        if not isinstance(model, Hybrid) or not isinstance(data, TaskData):
            raise UserError(f"{path}: must be a run of a hybrid on a task")
        rows, chunk, name = min(documents, 32), data.task.chunk_size, run.spec.name
        size = max(1, TOKENS_AT_ONCE // (rows * chunk)) * chunk
        for cause in CAUSES if causes else CAUSES[:1]:
            for gap in gaps:
                began = time.process_time()
                predict = cause.predictor(model, data.task.gap_places(gap))
                recall = recall_at(data.task, predict, gap, documents=documents, batch_size=rows, chunk_size=size)
                speeds.append(documents * data.task.length(gap) / (time.process_time() - began))
                found.setdefault(cause.name, {}).setdefault(gap, []).append(recall.accuracy.exact)
                report(f"{path.name} {cause.name} {gap}: {recall.accuracy.exact:.4f}")
    return Curve(name, chunk, found, sorted(speeds)[len(speeds) // 2])
