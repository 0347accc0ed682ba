"""The loss of text that the memory keeps batch after batch, worked out again call by call."""

import math
from typing import Any

import torch
from torch import Tensor

from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.roles import LENGTH
from cortexzoo.harness.checking.training.surroundings import region
from cortexzoo.zoo.memory.contexts.diary import Diary
from cortexzoo.zoo.training.evaluation import measure

EVERY = 2
ORDER = (0, LENGTH - 1, 2 * LENGTH - 1, 2 * LENGTH - 1, 0)
"""Where the batches begin: one comes again at once, when it is not kept yet, and one when it is."""


@torch.no_grad()
def of_written_text(subject: Subject, rows: int) -> tuple[float, float]:
    """As it is measured, and as it is: of batches some of which come again, consolidated after every two."""
    model, state, precision = subject.copy(), subject.state, subject.experiment.recipe.precision
    text, device = subject.sequences(rows, 3 * LENGTH), next(model.parameters()).device
    batches = [text[:, at : at + LENGTH + 1] for at in ORDER]
    found = measure(model, batches, state=state, consolidate_every=EVERY, precision=precision).loss
    total = 0.0
    for number, tokens in enumerate(batches, start=1):
        tokens = tokens.to(device)
        with region(device, precision):
            output = model(tokens[:, :-1], model.between_batches(state, len(tokens)))
        total -= float(output.logits.double().log_softmax(-1).gather(-1, tokens[:, 1:, None]).mean())
        state = model.documents_ended(output.state)
        if _is_lost(state, tokens[:, :-1]):
            return math.inf, 1.0
        if number % EVERY == 0:
            state = model.consolidate(state)
    return found, total / len(batches)


def _is_lost(state: Any, read: Tensor) -> bool:
    """Whether a diary does not have the end of what was read among what it keeps for the next consolidation."""
    if not isinstance(diary := getattr(state, "long_term", None), Diary):
        return False
    count = min(read.shape[1], diary.log.shape[1] - 1)
    return count < 1 or not torch.equal(diary.log[: len(read), -count:].long(), read[:, -count:].long())
