"""Asking a model for what documents told it, over any gap in the memory of a few chunks."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from zoo.data.tasks.recall import Recall, recall_at
from zoo.data.tasks.task import Task
from zoo.models.interface import MemoryLanguageModel
from zoo.training.evaluation import autocast, model_device, undisturbed

if TYPE_CHECKING:
    from zoo.training.loop import Trainer

LOGITS_AT_ONCE = 2**22
"""Short documents are read so many chunks at once."""
MOST_LOGITS = 2**28
"""Of one chunk: a large vocabulary is asked fewer documents at once."""
ROWS = 32


def ask(
    model: MemoryLanguageModel[Any],
    task: Task,
    gaps: Sequence[int],
    trainer: "Trainer",
    documents: int,
    without: Collection[str] = (),
) -> dict[int, Recall]:
    """Recall at each gap, over validation documents; model and generators are left as they were."""
    rows = max(1, min(ROWS, documents, MOST_LOGITS // (task.chunk_size * model.vocab_size)))
    together = max(1, LOGITS_AT_ONCE // (rows * task.chunk_size * model.vocab_size))

    def predict(tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        output = model(tokens, model.initial_state(len(tokens)) if state is None else state, without)
        return output.logits, output.state

    with undisturbed(model), autocast(trainer.device, trainer.precision):
        return {
            gap: recall_at(
                task,
                predict,
                gap,
                documents=documents,
                batch_size=rows,
                chunk_size=together * task.chunk_size,
                device=model_device(model),
                reach=model.reach(without),
            )
            for gap in gaps
        }
