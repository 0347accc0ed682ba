"""How many answers of a task a trained model gets right on documents that no choice has seen."""

from collections.abc import Collection
from math import ceil
from typing import Any

from torch import Tensor

from cortexzoo.zoo.data.tasks.accuracy import Accuracy
from cortexzoo.zoo.data.tasks.recall_measure import recall_at
from cortexzoo.zoo.data.tasks.task import Task
from cortexzoo.zoo.models.interface import MemoryLanguageModel
from cortexzoo.zoo.training.evaluation import undisturbed

TOKENS_AT_ONCE, ROWS = 1024, 16


def answered_by(
    model: MemoryLanguageModel[Any], task: Task, gap: int, answers: int, disabled: Collection[str] = ()
) -> Accuracy:
    """Over so many answers at least of test documents with this gap, read without the memories named in `disabled`."""

    def predict(tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        output = model(tokens, model.initial_state(len(tokens)) if state is None else state, disabled)
        return output.logits, output.state

    with undisturbed(model):
        return recall_at(
            task, predict, gap,
            documents=ceil(answers / len(task.example("test", 0, gap).distances)), batch_size=ROWS, split="test",
            chunk_size=TOKENS_AT_ONCE, receptive_field=model.receptive_field(disabled),
        ).accuracy  # fmt: skip
