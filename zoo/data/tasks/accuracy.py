"""How many answers a model gives right: the logits at one place are judged by the token at the next."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cortexzoo.zoo.data.tasks.batch import Batch


@dataclass(frozen=True)
class Accuracy:
    """Shares of right answers. What there is none of has accuracy 0."""

    exact: float
    """Of answers of which every token is right."""
    token: float
    """Of the answers' tokens, earlier tokens of the answer given."""
    answers: int
    """How many answers were judged."""


class AnswerTally:
    """Counts right and wrong tokens of each answer, over whole documents or piece by piece."""

    def __init__(self, documents: int, num_answers: int) -> None:
        self._right = torch.zeros(documents, num_answers + 1, dtype=torch.int64)
        self._wrong = torch.zeros_like(self._right)

    def add(
        self,
        logits: Float[Tensor, "batch time vocab"],
        tokens: Int[Tensor, "batch time+1"],
        answers: Int[Tensor, "batch time+1"],
        first_document: int = 0,
    ) -> None:
        """Judge the logits at places 0 … T - 1 by tokens 1 … T. Logits that are not finite are wrong.

        `answers`: the number, from 1, of the answer that each token belongs to; 0: none. `first_document`: which one
        the first row is. Raises `ValueError` unless there is one token more than there are logits.
        """
        batch, time = logits.shape[:2]
        if tokens.shape != (batch, time + 1) or answers.shape != tokens.shape:
            raise ValueError(
                f"logits of {batch} × {time} places need {batch} × {time + 1} tokens, the last target included, "
                f"got {tuple(tokens.shape)} tokens and {tuple(answers.shape)} answers"
            )
        numbers = answers[:, 1:]
        asked = numbers > 0
        if not asked.any():
            return
        highest, predicted = logits[asked].max(dim=-1)
        is_right = (predicted == tokens[:, 1:][asked]) & highest.isfinite()
        rows = torch.arange(batch, device=numbers.device)[:, None].expand_as(numbers)[asked].cpu()
        for counts, hits in ((self._right, is_right), (self._wrong, ~is_right)):
            counts.index_put_(
                (first_document + rows, numbers[asked].cpu()), hits.cpu().to(counts.dtype), accumulate=True
            )

    def accuracy(self) -> Accuracy:
        """Over all answers so far."""
        return self._of(torch.ones_like(self._right[:, 1:], dtype=torch.bool))

    def by_slice(self, slices: Mapping[str, Int[Tensor, "documents answers"]]) -> dict[str, dict[int, Accuracy]]:
        """For each name and each of its values, over the answers that have it."""
        return {
            name: {int(value): self._of(values.cpu() == value) for value in values.cpu().unique()}
            for name, values in slices.items()
        }

    def _of(self, chosen: Tensor) -> Accuracy:
        right, wrong = self._right[:, 1:][chosen], self._wrong[:, 1:][chosen]
        given = right + wrong > 0
        answers, tokens = int(given.sum()), int((right + wrong).sum())
        exact = int((given & (wrong == 0)).sum())
        return Accuracy(exact / max(answers, 1), int(right.sum()) / max(tokens, 1), answers)


def accuracy(logits: Float[Tensor, "batch time vocab"], batch: Batch) -> Accuracy:
    """Over all answers of a batch, given the logits at its inputs."""
    tally = AnswerTally(len(logits), batch.num_answers)
    tally.add(logits, batch.tokens, batch.answers)
    return tally.accuracy()
