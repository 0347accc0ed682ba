"""The logits at one place are judged by the next token, answers as a whole, and nothing is changed in place."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import one_hot

from cortexzoo.zoo.data.tasks.accuracy import Accuracy, AnswerTally, accuracy
from cortexzoo.zoo.data.tasks.batch import Batch
from cortexzoo.zoo.data.tasks.task import Task
from tests.property.strategies import splits
from tests.zoo.data.tasks.shipped import NAMES, task_of

SMALL_VOCABULARY = [name for name in NAMES if not name.startswith("mqar")] + ["mqar-512-64"]


def logits_for(predicted: Tensor, task: Task) -> Tensor:
    return one_hot(predicted, task.vocabulary.size).float()


@pytest.mark.parametrize("name", SMALL_VOCABULARY)
def test_a_perfect_model_scores_1_and_an_echo_no_more_than_chance(name: str) -> None:
    task = task_of(name)
    batch = task.batch("train", range(40), 0)
    tokens, answers = batch.tokens.clone(), batch.answers.clone()
    perfect = accuracy(logits_for(batch.tokens[:, 1:], task), batch)
    assert perfect == Accuracy(1.0, 1.0, 40 * batch.num_answers)
    echo = accuracy(logits_for(batch.inputs, task), batch)
    chance = task.chance().exact
    assert echo.exact <= chance + 5 * (chance / echo.answers) ** 0.5
    assert torch.equal(batch.tokens, tokens) and torch.equal(batch.answers, answers)


def test_a_comparison_without_the_shift_is_refused() -> None:
    task = task_of("kv")
    batch = task.batch("train", range(2), 0)
    tally = AnswerTally(2, 1)
    # One place of logits more than has a target, as a caller has who forgot the shift.
    with pytest.raises(ValueError, match=r"logits of 2 × 65 places need 2 × 66 tokens"):
        AnswerTally.add.__wrapped__(tally, logits_for(batch.tokens, task)[:, :65], batch.tokens[:, :65], batch.answers)


def by_slice_at_once(logits: Tensor, batch: Batch) -> dict[str, dict[int, Accuracy]]:
    tally = AnswerTally(len(logits), batch.num_answers)
    tally.add(logits, batch.tokens, batch.answers)
    return tally.by_slice(batch.slices)


def example() -> Batch:
    """Two answers of two tokens, 7 8 and 9 6, in the first document, one in the second."""
    tokens = torch.tensor([[1, 7, 8, 1, 9, 6, 1], [1, 1, 1, 5, 4, 1, 1]])
    answers = torch.tensor([[0, 1, 1, 0, 2, 2, 0], [0, 0, 0, 1, 1, 0, 0]])
    return Batch(tokens, answers, {"kind": torch.tensor([[10, 20], [10, 20]])})


def test_an_answer_is_right_when_all_of_it_is() -> None:
    batch = example()
    predicted = batch.tokens[:, 1:].clone()
    predicted[0, 4] = 0  # stands for the 6
    predicted[1, 0] = 0  # is no answer
    found = accuracy(one_hot(predicted, 10).float(), batch)
    assert found == Accuracy(exact=2 / 3, token=5 / 6, answers=3)
    assert by_slice_at_once(one_hot(predicted, 10).float(), batch) == {
        "kind": {10: Accuracy(1.0, 1.0, 2), 20: Accuracy(0.0, 0.5, 1)}
    }


def test_logits_that_are_not_finite_are_wrong() -> None:
    batch = example()
    batch.tokens[batch.answers > 0] = 0
    for bad in (torch.nan, torch.inf):
        assert accuracy(torch.full((2, 6, 10), bad), batch).token == 0


@given(st.data())
def test_pieces_count_as_the_whole(data: st.DataObject) -> None:
    task = task_of("nback")
    batch = task.batch("train", range(6), 0)
    logits = torch.randint(2, (6, 1, 1)) * logits_for(batch.tokens[:, 1:], task)
    tally = AnswerTally(6, batch.num_answers)
    for cut in data.draw(splits(logits.shape[1])):
        for rows in (slice(0, 2), slice(2, 6)):
            ends = slice(cut.start, cut.stop + 1)
            tally.add(logits[rows, cut], batch.tokens[rows, ends], batch.answers[rows, ends], rows.start)
    assert tally.accuracy() == accuracy(logits, batch)
    assert tally.by_slice(batch.slices) == by_slice_at_once(logits, batch)


def test_a_loss_on_the_labels_is_a_loss_on_what_is_judged() -> None:
    task = task_of("kv")
    batch = task.batch("train", range(4), 1)
    logits = 100 * logits_for(batch.tokens[:, 1:], task)
    assert torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten()) < 1e-6
