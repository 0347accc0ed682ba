"""Schedules: their ends, their peak, and restarts against PyTorch's own."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cortexzoo.specs.recipe import Constant, Cosine, CosineRestarts, Trapezoid
from cortexzoo.zoo.training.schedule import rate_factor, warmup_steps


@given(st.integers(1, 500), st.floats(0, 0.99), st.floats(0, 1))
def test_cosine_climbs_to_one_and_ends_at_its_final_ratio(steps: int, warmup: float, final: float) -> None:
    schedule = Cosine(warmup_ratio=warmup, final_ratio=final)
    factors = [rate_factor(schedule, taken, steps) for taken in range(steps)]
    peak = warmup_steps(schedule, steps)
    assert factors[-1] == pytest.approx(final)
    assert factors[:peak] == pytest.approx([(i + 1) / peak for i in range(peak)])
    assert all(earlier >= later for earlier, later in zip(factors[peak:], factors[peak + 1 :], strict=False))
    assert max(factors, default=0) <= 1


def test_half_way_down_is_the_mean() -> None:
    assert rate_factor(Cosine(warmup_ratio=0.1, final_ratio=0.2), 54, 100) == pytest.approx(0.6)


@given(st.integers(2, 500), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 1))
def test_trapezoid_climbs_stays_and_falls_to_its_final_ratio(
    steps: int, warmup: float, decay: float, final: float
) -> None:
    schedule = Trapezoid(warmup_ratio=warmup, decay_ratio=decay, final_ratio=final)
    factors = [rate_factor(schedule, taken, steps) for taken in range(steps)]
    peak, falling = warmup_steps(schedule, steps), round(decay * steps)
    assert factors[:peak] == pytest.approx([(i + 1) / peak for i in range(peak)])
    assert factors[peak : steps - falling] == pytest.approx([1.0] * len(factors[peak : steps - falling]))
    if falling and peak < steps:
        assert factors[-1] == pytest.approx(final)
    assert all(earlier >= later for earlier, later in zip(factors[peak:], factors[peak + 1 :], strict=False))


def test_constant_stays_at_one_after_warmup() -> None:
    assert [rate_factor(Constant(warmup_ratio=0.5), taken, 4) for taken in range(4)] == [0.5, 1, 1, 1]


@pytest.mark.parametrize(("period", "multiplier"), [(1, 1), (4, 1), (3, 2), (1000, 2)])
def test_restarts_are_those_of_pytorch(period: int, multiplier: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, period, multiplier)
    schedule = CosineRestarts(period=period, multiplier=multiplier)
    for taken in range(40):
        assert rate_factor(schedule, taken, 40) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()


def test_warmup_ends_before_the_last_step() -> None:
    assert [warmup_steps(Constant(warmup_ratio=ratio), 10) for ratio in (0, 0.5, 0.84, 0.96)] == [0, 5, 8, 9]
    assert warmup_steps(CosineRestarts(period=4, multiplier=2), 10) == 0
