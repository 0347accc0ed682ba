"""Recall of facts from documents, over any gap in the memory of a few chunks."""

from collections.abc import Collection, Sequence
from typing import Any

from torch import Tensor

from cortexzoo.zoo.data.tasks.recall_measure import Recall, recall_at
from cortexzoo.zoo.data.tasks.task import Task
from cortexzoo.zoo.models.interface import TOKENS_AT_ONCE, MemoryLanguageModel
from cortexzoo.zoo.training.evaluation import autocast, model_device, undisturbed
from cortexzoo.zoo.training.policies.base import Trainer

LOGITS_AT_ONCE = 2**24
"""64 MB in float32: a base's own vocabulary may have 50,000 tokens and more."""
ROWS = 32


def ask(
    model: MemoryLanguageModel[Any],
    task: Task,
    gaps: Sequence[int],
    trainer: Trainer,
    documents: int,
    disabled: Collection[str] = (),
) -> dict[int, Recall]:
    """Recall at each gap, over validation documents; model and generators are left as they were."""
    tokens = min(TOKENS_AT_ONCE, LOGITS_AT_ONCE // model.vocab_size)
    rows = max(1, min(ROWS, documents, tokens // task.chunk_size))
    together = max(1, tokens // (rows * task.chunk_size))

    def predict(tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        output = model(tokens, model.initial_state(len(tokens)) if state is None else state, disabled)
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
                receptive_field=model.receptive_field(disabled),
            )
            for gap in gaps
        }
