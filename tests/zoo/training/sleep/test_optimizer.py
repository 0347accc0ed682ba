"""An update is AdamW's on the clipped gradient; one that is not finite leaves no trace and is counted."""

import pytest
import torch
from torch import Tensor, nn

from cortexzoo.zoo.training.sleep.optimizer import SleepOptimizer


def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.tensor([3.0, -4.0])), nn.Parameter(torch.tensor(1.0))]


def updates(over: list[nn.Parameter], clip: float = 1.0) -> SleepOptimizer:
    return SleepOptimizer(over, 0.1, clip, lambda flag: flag)


def test_an_update_is_that_of_adamw_on_the_clipped_gradient() -> None:
    ours, theirs = parameters(), parameters()
    optimizer = torch.optim.AdamW(theirs, lr=0.1)
    asleep = updates(ours, clip=0.5)
    for _ in range(3):
        assert asleep.update((ours[0] ** 2).sum() + ours[1])
        ((theirs[0] ** 2).sum() + theirs[1]).backward()
        torch.nn.utils.clip_grad_norm_(theirs, 0.5)
        optimizer.step()
        optimizer.zero_grad()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert (asleep.taken, asleep.refused, len(asleep.losses)) == (3, 0, 3)
    assert all(parameter.grad is None for parameter in ours)


def test_a_small_gradient_is_not_clipped() -> None:
    over = parameters()
    asleep = updates(over, clip=100.0)
    found: list[list[Tensor | None]] = []
    asleep._take = lambda gradients: found.append(list(gradients))  # type: ignore[method-assign]
    asleep.update((over[0] ** 2).sum() + over[1])
    gradient = found[0][0]
    assert gradient is not None and torch.equal(gradient, 2 * over[0].detach())


def nan_loss(over: list[nn.Parameter]) -> Tensor:
    return over[0].sum() * float("nan")


def infinite_loss(over: list[nn.Parameter]) -> Tensor:
    return over[0].sum() + float("inf")


def nan_gradient(over: list[nn.Parameter]) -> Tensor:
    return (over[0][0] - over[0][0].detach()).abs().sqrt() + over[1] - 1


def infinite_norm(over: list[nn.Parameter]) -> Tensor:
    return over[0].sum() * 3e38


@pytest.mark.parametrize("poisoned", [nan_loss, infinite_loss, nan_gradient, infinite_norm])
def test_what_is_not_finite_leaves_no_trace(poisoned: object) -> None:
    assert callable(poisoned)
    over, control = parameters(), parameters()
    asleep, undisturbed = updates(over), updates(control)
    for at in range(4):
        if at == 2:
            assert not asleep.update(poisoned(over))
        assert asleep.update((over[0] ** 2).sum() + over[1])
        assert undisturbed.update((control[0] ** 2).sum() + control[1])
    assert all(torch.equal(one, other) for one, other in zip(over, control, strict=True))
    assert (asleep.taken, asleep.refused) == (4, 1)


def test_a_refusal_elsewhere_is_one_here() -> None:
    over = parameters()
    asleep = SleepOptimizer(over, 0.1, 1.0, lambda flag: True)
    assert not asleep.update(over[0].sum())
    assert torch.equal(over[0], parameters()[0]) and asleep.refused == 1


def test_an_update_without_a_dream_is_refused_everywhere() -> None:
    told: list[bool] = []

    def agree(flag: bool) -> bool:
        told.append(flag)
        return flag

    asleep = SleepOptimizer(parameters(), 0.1, 1.0, agree)
    asleep.refuse()
    assert (told, asleep.taken, asleep.refused) == ([True], 0, 1)


def test_a_parameter_that_the_loss_ignores_stays() -> None:
    over = parameters()
    assert updates(over).update((over[0] ** 2).sum())
    assert over[1].item() == 1.0
