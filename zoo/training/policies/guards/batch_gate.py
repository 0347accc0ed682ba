"""The gate before the model: a batch that is none, or holds what the model has no logit for, goes no further."""

from typing import TYPE_CHECKING

import torch

from cortexzoo.zoo.training.policies.base import Policy, Step

if TYPE_CHECKING:
    from cortexzoo.zoo.training.loop import Trainer


class BatchGate(Policy):
    """Refuses a batch without a token, or with a number outside the vocabulary (on a GPU it would end the process)."""

    name = "batch_gate"

    def batch_ready(self, trainer: "Trainer", step: Step) -> None:
        assert step.tokens is not None
        if step.tokens.numel() == 0:
            step.refuse("the batch is empty")
            return
        low, high = torch.stack(step.tokens.aminmax()).tolist()
        last = trainer.model.vocab_size - 1
        if low < 0 or high > last:
            step.refuse(f"the batch holds {low if low < 0 else high}: the vocabulary goes from 0 to {last}")
