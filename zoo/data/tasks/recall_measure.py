"""Recall by gap: documents streamed chunk by chunk through any predictor, so a control is just another predictor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from cortexzoo.zoo.data.tasks.accuracy import Accuracy, AnswerTally
from cortexzoo.zoo.data.tasks.batch import IGNORED
from cortexzoo.zoo.data.tasks.task import Split, Task

StateT = TypeVar("StateT")


class Predict(Protocol[StateT]):
    """Reads one chunk: logits for each of its places and the state after it. State None: the documents begin."""

    def __call__(
        self, tokens: Int[Tensor, "batch time"], state: StateT | None, /
    ) -> tuple[Float[Tensor, "batch time vocab"], StateT]: ...


@dataclass(frozen=True)
class Recall:
    """What a predictor gets right at one gap."""

    accuracy: Accuracy
    by_slice: dict[str, dict[int, Accuracy]]
    """For each name and each of its values."""
    loss: float
    """Cross-entropy in nats a token of an answer."""


@torch.no_grad()
def recall_at(
    task: Task,
    predict: Predict[StateT],
    gap: int,
    *,
    documents: int | None = None,
    batch_size: int = 32,
    split: Split = "validation",
    chunk_size: int | None = None,
    device: torch.device | str = "cpu",
    receptive_field: int | None = None,
) -> Recall:
    """Recall at one gap, in the memory of a chunk however long the gap.

    `documents` and `chunk_size` default to the values of the task's spec. A predictor that looks back no further than
    `reach` tokens before its chunk is given no more than these. Raises `DataError` for a gap out of reach.
    """
    count = task.spec.evaluation_documents if documents is None else documents
    tally: AnswerTally | None = None
    slices: dict[str, list[Tensor]] = {}
    loss_sum, asked = 0.0, 0
    for first in range(0, count, batch_size):
        state: StateT | None = None
        last_piece = None
        for piece in task.stream(split, range(first, min(first + batch_size, count)), gap, chunk_size, receptive_field):
            tally = tally or AnswerTally(count, piece.num_answers)
            logits, state = predict(piece.inputs.to(device), state)
            tally.add(logits, piece.tokens.to(device), piece.answers.to(device), first)
            labels = piece.labels.to(device)
            loss_sum += F.cross_entropy(
                logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum"
            ).item()
            asked += int(piece.mask.sum())
            last_piece = piece
        for name, values in last_piece.slices.items() if last_piece else ():
            slices.setdefault(name, []).append(values)
    if tally is None:
        raise ValueError(f"documents must be >= 1, got {count}")
    by_slice = tally.by_slice({name: torch.cat(values) for name, values in slices.items()})
    return Recall(tally.accuracy(), by_slice, loss_sum / max(asked, 1))


def recall_by_gap(
    tasks: Sequence[Task],
    predict: Predict[StateT],
    gaps: Sequence[int] | None = None,
    *,
    documents: int | None = None,
    batch_size: int = 32,
    split: Split = "validation",
    device: torch.device | str = "cpu",
) -> dict[str, dict[int, float]]:
    """Task → gap → share of whole answers right; without `gaps` at each task's own. Raises `DataError`."""
    return {
        task.name: {
            gap: recall_at(
                task, predict, gap, documents=documents, batch_size=batch_size, split=split, device=device
            ).accuracy.exact
            for gap in (task.spec.gaps if gaps is None else gaps)
        }
        for task in tasks
    }


def chance_levels(tasks: Sequence[Task]) -> Mapping[str, float]:
    """Task → share of whole answers that the best guess without the facts gets right."""
    return {task.name: task.chance().exact for task in tasks}
