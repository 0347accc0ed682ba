"""Telling a spike from noise and from a new level, by both rules."""

import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cortexzoo.specs.guards import AverageRatio, NoSpikeDetection, RobustDeviation, SpikeSpec
from cortexzoo.zoo.training.policies import build
from cortexzoo.zoo.training.policies.base import Step
from cortexzoo.zoo.training.policies.guards.spikes import SpikeGuard
from cortexzoo.zoo.training.state.recovery_point import recover, recoverable_values

RULES: list[SpikeSpec] = [AverageRatio(), RobustDeviation()]
TRAINER: Any = SimpleNamespace(event=lambda kind, detail: None)
SEED = 7


def guard(spec: SpikeSpec, may_roll_back: bool = True) -> SpikeGuard:
    return build.spike_guard(spec, may_roll_back)


def meet(policy: SpikeGuard, loss: float, norm: float = 1.0) -> Step:
    """One step through the moments that the guard sees; what is not finite is refused as the finite gate would."""
    step = Step(1, loss=loss)
    if not math.isfinite(loss):
        step.refuse("not finite")
    policy.loss_known(TRAINER, step)
    if step.refused is None:
        step.gradient_norm = norm
        if not math.isfinite(norm):
            step.refuse("not finite")
        policy.gradients_known(TRAINER, step)
    (policy.step_taken if step.refused is None else policy.step_refused)(TRAINER, step)
    return step


def settled(spec: SpikeSpec, level: float = 2.0, may_roll_back: bool = True) -> SpikeGuard:
    policy = guard(spec, may_roll_back)
    noise = np.random.default_rng(SEED)
    for _ in range(60):
        assert (
            meet(policy, level + 0.1 * noise.standard_normal(), math.exp(0.3 * noise.standard_normal())).refused is None
        )
    return policy


@pytest.mark.parametrize("spec", RULES, ids=lambda spec: spec.kind)
def test_no_false_alarm_in_3000_noisy_steps(spec: SpikeSpec) -> None:
    policy = guard(spec)
    noise = np.random.default_rng(SEED)
    levels = 2.0 + 3.0 * np.exp(-np.arange(3000) / 200)
    for level in levels:
        loss = level * (1 + 0.07 * noise.standard_normal())
        assert meet(policy, loss, math.exp(0.5 * noise.standard_normal())).refused is None
    assert (policy.loss_spikes, policy.gradient_spikes) == (0, 0)


@pytest.mark.parametrize("spec", RULES, ids=lambda spec: spec.kind)
def test_a_spike_of_a_thousand_is_refused_and_not_remembered(spec: SpikeSpec) -> None:
    policy = settled(spec)
    before = json.dumps(policy.history())
    step = meet(policy, 2000.0)
    assert step.refused is not None
    assert step.refused.startswith("loss 2000 is a spike: the usual limit is ")
    assert json.dumps(policy.history()) == before
    assert policy.loss_spikes == step.metrics["stability/loss_spikes"] == 1
    assert meet(policy, 2.0).refused is None


@pytest.mark.parametrize("spec", RULES, ids=lambda spec: spec.kind)
@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (2.0, math.nan), (2.0, math.inf)])
def test_what_is_not_finite_leaves_no_trace(spec: SpikeSpec, loss: float, norm: float) -> None:
    policy = settled(spec)
    before = json.dumps(policy.state_dict())
    meet(policy, loss, norm)
    assert json.dumps(policy.state_dict()) == before
    assert meet(policy, 2000.0).refused is not None, "the guard is still on"


@pytest.mark.parametrize("action", ["skip", "rollback"])
@pytest.mark.parametrize("spec", RULES, ids=lambda spec: spec.kind)
def test_a_lasting_new_level_is_accepted(spec: Any, action: str) -> None:
    policy = settled(spec.model_copy(update={"action": action}))
    steps = [meet(policy, 12.0) for _ in range(40)]
    assert [step.refused is not None for step in steps] == [True] * 8 + [False] * 32
    assert [i for i, step in enumerate(steps) if step.rollback] == ([0] if action == "rollback" else [7])
    assert policy.new_levels == 1
    assert meet(policy, 1e5).refused is not None, "the guard learnt the new level"


@pytest.mark.parametrize("spec", RULES, ids=lambda spec: spec.kind)
def test_without_recovery_nothing_is_rolled_back(spec: Any) -> None:
    policy = settled(spec.model_copy(update={"action": "skip"}), may_roll_back=False)
    assert not any(meet(policy, 50.0).rollback for _ in range(8))


def test_the_users_rule_is_five_times_the_average() -> None:
    policy = guard(AverageRatio())
    for loss in [1.0, 3.0] * 5:
        meet(policy, loss)
    assert policy.loss_limit() == 10.0
    assert meet(policy, 10.0).refused is None
    assert meet(policy, 5 * np.mean([1.0, 3.0] * 5 + [10.0]) + 0.01).rollback


def test_a_gradient_spike_is_told_in_log_space() -> None:
    policy = settled(RobustDeviation())
    assert meet(policy, 2.0, 1000.0).refused is not None
    assert policy.gradient_spikes == 1
    assert meet(policy, 2.0, 1e-6).refused is None, "a small gradient is no spike"
    assert settled(AverageRatio()).gradient_limit() == math.inf


def test_equal_losses_do_not_make_a_hair_a_spike() -> None:
    policy = guard(RobustDeviation())
    for _ in range(60):
        meet(policy, 2.0)
    assert meet(policy, 2.2, 1.1).refused is None
    assert meet(policy, 2.5).refused is not None


def test_nothing_is_told_from_too_short_a_history() -> None:
    policy = guard(RobustDeviation(min_history=5))
    for _ in range(4):
        meet(policy, 1.0)
    assert meet(policy, 1e6).refused is None


def test_kind_none_counts_and_refuses_nothing() -> None:
    policy = guard(NoSpikeDetection())
    for _ in range(20):
        meet(policy, 1.0)
    assert meet(policy, 50.0).refused is None
    assert policy.loss_spikes == 1


@pytest.mark.parametrize("spec", RULES, ids=lambda spec: spec.kind)
def test_the_state_comes_back_through_json_and_only_the_history_returns_with_the_weights(spec: SpikeSpec) -> None:
    policy, other = settled(spec), guard(spec)
    then = json.loads(json.dumps(recoverable_values(policy)))
    meet(policy, 2000.0)
    meet(policy, 2.1)
    other.load_state(TRAINER, json.loads(json.dumps(policy.state_dict())), {})
    assert other.state_dict() == policy.state_dict()
    recover(other, TRAINER, then, {})
    assert recoverable_values(other) == then
    assert other.loss_spikes == 1
