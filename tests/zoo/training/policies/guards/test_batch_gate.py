"""The batch gate refuses what the model cannot read, and lets the highest byte through."""

import pytest
import torch
from torch import Tensor

from cortexzoo.zoo.training.loop import TrainingLoop
from tests.zoo.training.tiny import At, Notebook, tiny_data, tiny_model, tiny_spec


def refusal(tokens: Tensor) -> str | None:
    """What the gate says to a batch at step 3."""
    before = At("batch_ready", {3}, lambda trainer, step: setattr(step, "tokens", tokens))
    seen: list[str | None] = []
    after = At("step_refused", {3}, lambda trainer, step: seen.append(step.refused))
    after.name = "after"
    trainer = TrainingLoop(tiny_model(), tiny_spec(), tiny_data(), recorder=Notebook(), policies=[after])
    trainer.policies.insert(0, before)
    result = trainer.run()
    assert result.steps_refused == len(seen)
    assert result.steps_taken == 12 - len(seen)
    return seen[0] if seen else None


@pytest.mark.parametrize(
    ("tokens", "reason"),
    [
        (torch.zeros(1, 4, 0, dtype=torch.long), "the batch is empty"),
        (torch.zeros(1, 0, 9, dtype=torch.long), "the batch is empty"),
        (torch.full((1, 4, 9), 256), "token 256 in the batch is outside the vocabulary, 0 to 255"),
        (torch.full((1, 4, 9), -100), "token -100 in the batch is outside the vocabulary, 0 to 255"),
        (torch.full((1, 4, 9), 255), None),
        (torch.zeros(1, 4, 9, dtype=torch.long), None),
    ],
)
def test_only_bytes_with_a_logit_reach_the_model(tokens: Tensor, reason: str | None) -> None:
    assert refusal(tokens) == reason


def test_a_refusal_before_the_forward_leaves_memory_and_generators_alone() -> None:
    states: list[Tensor] = []
    look = At("batch_ready", {3, 4}, lambda trainer, step: states.append(torch.get_rng_state()))
    spoil = At("batch_ready", {3}, lambda trainer, step: setattr(step, "tokens", torch.full((1, 4, 9), 999)))
    look.name = "look"
    trainer = TrainingLoop(tiny_model(), tiny_spec(), tiny_data())
    trainer.policies[:0] = [look, spoil]
    trainer.run()
    assert torch.equal(*states)
