"""A predictor that remembers recalls everything, one that does not is at chance: the same function tells both."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from cortexzoo.zoo.data.tasks.build import build_task
from cortexzoo.zoo.data.tasks.recall_measure import chance_levels, recall_at, recall_by_gap
from cortexzoo.zoo.errors import DataError
from tests.zoo.data.tasks.shipped import spec_of, task_of

VOCAB = 256


class LastSeen:
    """Predicts what followed the token's last occurrence within the `reach` tokens before it."""

    def __init__(self, receptive_field: int | None = None) -> None:
        self.receptive_field = receptive_field
        self.chunks: list[int] = []

    def __call__(self, tokens: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        assert not torch.is_grad_enabled()
        self.chunks.append(tokens.shape[1])
        seen = tokens if state is None else torch.cat([state, tokens], dim=1)
        predicted = torch.zeros_like(tokens)
        for row, history in enumerate(seen.tolist()):
            for place in range(tokens.shape[1]):
                end = len(history) - tokens.shape[1] + place
                first = 0 if self.receptive_field is None else max(0, end + 1 - self.receptive_field)
                for earlier in range(end - 1, first - 1, -1):
                    if history[earlier] == history[end]:
                        predicted[row, place] = history[earlier + 1]
                        break
        return one_hot(predicted, VOCAB).float(), seen


@pytest.mark.parametrize("name", ["kv-tokens", "overwrite"])
def test_memory_recalls_and_its_controls_do_not(name: str) -> None:
    task = task_of(name)
    remembering = recall_by_gap([task], LastSeen(), [0, 1, 3], documents=10, batch_size=4)
    assert remembering == {name: {0: 1.0, 1: 1.0, 3: 1.0}}
    forgetting = recall_by_gap([task], LastSeen(receptive_field=task.chunk_size), [1, 3], documents=20)
    assert max(forgetting[name].values()) <= 4 * chance_levels([task])[name]


def test_slices_cover_all_answers() -> None:
    recall = recall_at(task_of("overwrite"), LastSeen(), 1, documents=5, batch_size=2)
    assert recall.accuracy.answers == 30
    assert {name: sum(part.answers for part in parts.values()) for name, parts in recall.by_slice.items()} == {
        "gap": 30,
        "pairs": 30,
        "pair": 30,
        "rebound": 30,
    }
    assert {value: part.answers for value, part in recall.by_slice["rebound"].items()} == {0: 15, 1: 15}


def test_chunks_documents_and_gaps_come_from_the_spec() -> None:
    task = build_task(spec_of("kv-tokens", "gaps=[1, 2]", "evaluation_documents=3", "chunk_size=32"))
    predict = LastSeen()
    assert list(recall_by_gap([task], predict)["kv-tokens"]) == [1, 2]
    assert predict.chunks == [32] * (3 + 4)


def test_a_gap_out_of_reach_is_refused() -> None:
    with pytest.raises(DataError, match="a gap must be >= 0 chunks"):
        recall_at(task_of("kv"), LastSeen(), -1)
