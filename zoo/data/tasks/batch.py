"""Documents side by side as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from cortexzoo.zoo.data.tasks.document import Document

IGNORED = -100
"""The label of what is no answer: `torch.nn.functional.cross_entropy` leaves it out."""


@dataclass(frozen=True)
class Batch:
    """A stretch of some documents: tokens to read and, one further on, the last one's target."""

    tokens: Int[Tensor, "batch time_and_target"]
    answers: Int[Tensor, "batch time_and_target"]
    """For each token the number, from 1, of the answer that it belongs to; 0: none."""
    slices: dict[str, Int[Tensor, "batch answers"]]
    """What the accuracy is broken down by: for each name one value an answer."""

    @property
    def inputs(self) -> Int[Tensor, "batch time"]:
        """What the model reads."""
        return self.tokens[:, :-1]

    @property
    def mask(self) -> Bool[Tensor, "batch time"]:
        """At which inputs the model predicts a token of an answer, the next one."""
        return self.answers[:, 1:] > 0

    @property
    def labels(self) -> Int[Tensor, "batch time"]:
        """For each input the token that follows it where that is an answer, elsewhere `IGNORED`; a new tensor."""
        return torch.where(self.mask, self.tokens[:, 1:], IGNORED)

    @property
    def num_answers(self) -> int:
        """Answers of each document, within this stretch or not."""
        return next(iter(self.slices.values())).shape[1]

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        slices = {name: values.to(device) for name, values in self.slices.items()}
        return Batch(self.tokens.to(device), self.answers.to(device), slices)


def batch_of(documents: Sequence[Document], begin: int, end: int) -> Batch:
    """Places begin … end - 1 of documents, with the targets at `end`."""
    cuts = [document.cut(begin, end + 1) for document in documents]
    return Batch(
        tokens=torch.from_numpy(np.stack([tokens for tokens, _ in cuts])),
        answers=torch.from_numpy(np.stack([answers for _, answers in cuts])),
        slices={
            name: torch.from_numpy(np.stack([document.slices[name] for document in documents]))
            for name in documents[0].slices
        },
    )
