"""Recall of a trained hybrid by gap: `cortexzoo bench recall-curve RUN… [--gaps 1,16,…] [--plot F]`.

Measures recall of each run's model, over gaps of up to a million tokens streamed in constant memory, and
again with one cause of forgetting taken away: the memory does not fade, nothing of the gap is written, or everything is
computed in float64. What then rises was what limited it.
"""

import copy
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from cortexzoo.harness.bench.recall_plot import draw_recall
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
        decay = lasting.sidecar(layer).memory.gates.decay
        torch.nn.init.zeros_(decay.weight)
        torch.nn.init.constant_(decay.bias, OPEN)
    return as_trained(lasting, gap)


def without_noise(model: Hybrid, gap: tuple[int, int]) -> Predict:
    """Between facts and questions nothing is written; the memory fades as it did."""
    muted = copy.deepcopy(model)
    for layer in muted.sidecars:
        write = muted.sidecar(layer).memory.gates.write
        torch.nn.init.zeros_(write.weight)
        torch.nn.init.constant_(write.bias, SHUT)
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


def in_float64(model: Hybrid, gap: tuple[int, int]) -> Predict:
    return as_trained(copy.deepcopy(model).double(), gap)


CAUSES = (
    Cause("as trained", as_trained),
    Cause("without fading", without_fading),
    Cause("nothing of the gap written", without_noise),
    Cause("in float64", in_float64),
)


def chunks_of(gaps: str) -> list[int]:
    """Raises `typer.BadParameter`."""
    asked = [int(gap) if gap.strip().isdecimal() else 0 for gap in gaps.split(",")]
    if min(asked) < 1:
        raise typer.BadParameter(f"--gaps: must be chunks, 1 or more each, separated by commas, got {gaps!r}")
    return asked


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    runs: Annotated[list[Path], typer.Argument(help="Finished runs of a hybrid, such as several seeds.")],
    gaps: Annotated[str, typer.Option(help="Gaps in chunks, separated by commas.")] = GAPS,
    documents: Annotated[int, typer.Option(min=1, help="Documents at each gap.")] = 8,
    causes: Annotated[bool, typer.Option(help="Also with each cause of forgetting taken away.")] = True,
    checkpoint: Annotated[str, typer.Option(metavar="best|last|step-N")] = "last",
    plot: Annotated[Path | None, typer.Option(help="Where the picture goes.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the table as JSON.")] = None,
) -> None:
    """Recall over gaps far beyond those trained on, and what limits it."""
    asked = chunks_of(gaps)
    found: dict[str, dict[int, list[float]]] = {}
    speeds: list[float] = []
    chunk = 0
    for path in runs:
        run = Run.open(path)
        model, _ = run.load_model(checkpoint)
        data = load_data(run.spec)
        if not isinstance(model, Hybrid) or not isinstance(data, TaskData):
            raise typer.BadParameter(f"{path}: must be a run of a hybrid on a task")
        rows, chunk = min(documents, 32), data.task.chunk_size
        size = max(1, TOKENS_AT_ONCE // (rows * chunk)) * chunk
        for cause in CAUSES if causes else CAUSES[:1]:
            for gap in asked:
                began = time.process_time()
                predict = cause.predictor(model, data.task.gap_places(gap))
                recall = recall_at(data.task, predict, gap, documents=documents, batch_size=rows, chunk_size=size)
                speeds.append(documents * data.task.length(gap) / (time.process_time() - began))
                found.setdefault(cause.name, {}).setdefault(gap, []).append(recall.accuracy.exact)
                print(f"{path.name} {cause.name} {gap}: {recall.accuracy.exact:.4f}", flush=True)
    _show(found, asked, chunk)
    print(f"{sorted(speeds)[len(speeds) // 2]:,.0f} tokens per CPU second (median)")
    if plot is not None:
        title = f"{run.spec.name}: answers right, {len(runs)} seeds × {documents} documents"
        draw_recall(plot, found, chunk, title=title)
    if json_file is not None:
        json_file.write_text(json.dumps({"chunk": chunk, "documents": documents, "recall": found}, indent=2) + "\n")


def _show(found: dict[str, dict[int, list[float]]], gaps: list[int], chunk: int) -> None:
    table = Table("gap, chunks", "tokens", *found)
    for gap in gaps:
        shares = [by_gap[gap] for by_gap in found.values()]
        table.add_row(f"{gap:,}", f"{gap * chunk:,}", *(" ".join(f"{s:.3f}" for s in each) for each in shares))
    Console(width=140).print(table)
