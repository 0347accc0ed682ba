"""KL and Fisher information against their definitions, computed the long way."""

import pytest
import torch

from cortexzoo.zoo.training.evaluation import autocast, lm_loss
from cortexzoo.zoo.training.sleep.anchors import divergence, elastic_penalty, fisher_information
from cortexzoo.zoo.training.sleep.reservoir import Example
from tests.zoo.training.tiny import tiny_model, weights


def test_divergence_is_the_sum_of_its_definition_over_real_positions() -> None:
    before, now = torch.randn(2, 3, 5).double(), torch.randn(2, 3, 5).double()
    real = torch.tensor([[True, True, False], [True, False, False]])
    p, q = before.softmax(-1), now.softmax(-1)
    each = (p * (p / q).log()).sum(-1)
    assert divergence(before, now).item() == pytest.approx(each.mean().item(), rel=1e-5)
    assert divergence(before, now, real).item() == pytest.approx(each[real].mean().item(), rel=1e-5)
    assert divergence(before, before).item() == pytest.approx(0, abs=1e-6)


def test_fisher_information_is_the_mean_of_squared_gradients_by_target() -> None:
    model = tiny_model(dropout=0.5).train()
    over = list(model.parameters())
    examples = [
        Example(torch.tensor([3, 1, 4, 1]), torch.tensor([True, True, True])),
        Example(torch.tensor([2, 7, 1, 8, 2]), torch.tensor([False, False, True, True])),
        Example(torch.tensor([5, 5]), torch.tensor([False])),
    ]
    before, random = weights(model), torch.get_rng_state()
    fisher = fisher_information(model, over, examples, model.initial_state, autocast(torch.device("cpu"), "fp32"))
    model.eval()
    expected = [torch.zeros_like(parameter) for parameter in over]
    for example, counted in ((examples[0], 3), (examples[1], 2)):
        loss, _ = lm_loss(model, example.tokens[None], scored=example.scored[None])
        for sum_, gradient in zip(expected, torch.autograd.grad(loss, over, allow_unused=True), strict=True):
            if gradient is not None:
                sum_ += counted * gradient**2 / 2
    for one, other in zip(fisher, expected, strict=True):
        torch.testing.assert_close(one, other)
    assert any(bool(part.any()) for part in fisher)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in over)


def test_the_penalty_is_half_the_weighted_square() -> None:
    now, before, fisher = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0]), torch.tensor([3.0, 0.5])
    assert elastic_penalty([now], [before], [fisher]).item() == 0.5 * (3 * 1 + 0.5 * 4)
