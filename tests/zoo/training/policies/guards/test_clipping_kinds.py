"""Every kind of clipping: what it does to a gradient, and that nothing which is not finite reaches its memory."""

import json
import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

from cortexzoo.specs.guards import AGC, AdaGC, AdaptiveClipping, ClippingSpec, NoClipping, NormClipping, ZClip
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies import build
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer
from tests.zoo.training.tiny import Notebook, PoisonedGradient, same_tensors, tiny_data, tiny_model, tiny_spec, weights

KINDS: list[ClippingSpec] = [
    NormClipping(), NoClipping(), AdaptiveClipping(), ZClip(warmup=5), AdaGC(warmup=5), AGC(),
]  # fmt: skip


def guard(spec: ClippingSpec) -> Policy:
    made = build.clipping(spec)
    assert made is not None
    return made


class Bench:
    """Two parameters, and gradients of a wanted norm passed through a policy."""

    def __init__(self, spec: ClippingSpec) -> None:
        self.policy = guard(spec)
        self.parameters = [nn.Parameter(torch.ones(3, 4)), nn.Parameter(torch.ones(5))]
        self.trainer: Any = SimpleNamespace(trainable=self.parameters, device=torch.device("cpu"))

    def norm_after(self, norm: float, taken: bool = True) -> float:
        """The norm that a gradient of norm `norm` has after clipping; the step is then taken."""
        for parameter in self.parameters:
            parameter.grad = torch.full_like(parameter, norm / math.sqrt(17))
        step = Step(1, gradient_norm=norm, loss=1.0)
        self.policy.gradients_known(self.trainer, step)
        if taken:
            self.policy.step_taken(self.trainer, step)
        return math.sqrt(sum(float(p.grad.square().sum()) for p in self.parameters if p.grad is not None))

    def remembered(self) -> str:
        return json.dumps(self.policy.state_dict())


def test_the_adaptive_threshold_is_a_percentile_of_the_history() -> None:
    bench = Bench(AdaptiveClipping(percentile=50, window=4, min_history=3))
    assert [bench.norm_after(norm) for norm in (0.2, 9.0, 0.3)] == pytest.approx([0.2, 0.5, 0.3], rel=1e-5)
    assert bench.norm_after(0.6) == pytest.approx(0.3, rel=1e-4), "the median of 0.2, 9, 0.3"
    assert bench.norm_after(7.0) == pytest.approx(0.45, rel=1e-4), "7 is below 3 × the mean, and the median is 0.45"


def test_a_gradient_spike_is_clipped_ten_times_harder_for_that_step_only() -> None:
    bench = Bench(AdaptiveClipping(min_history=10))
    for _ in range(10):
        assert bench.norm_after(0.4) == pytest.approx(0.4, rel=1e-4)
    assert bench.norm_after(1.19) == pytest.approx(0.4, rel=1e-4), "not more than 3 × the average"
    average = float(np.mean(bench.policy.history))
    assert bench.norm_after(400.0) == pytest.approx(np.percentile([0.4] * 10 + [1.19], 90) / 10, rel=1e-4)
    assert bench.policy.history[-1] == pytest.approx(3 * average), "the outlier does not blind the rule"
    assert bench.norm_after(0.4) == pytest.approx(0.4, rel=1e-4)


def test_the_adaptive_rule_reaches_a_lasting_new_level() -> None:
    bench = Bench(AdaptiveClipping(max_norm=100.0, window=20))
    for _ in range(20):
        bench.norm_after(1.0)
    after = [bench.norm_after(10.0) for _ in range(12)]
    assert after[0] == pytest.approx(0.1, rel=1e-3)
    assert after[-1] > 3.0


def test_zclip_follows_its_equations() -> None:
    bench = Bench(ZClip(warmup=4))
    norms = [1.0, 1.2, 0.8, 1.0]
    assert [bench.norm_after(norm) for norm in norms] == pytest.approx(norms, rel=1e-4)
    mean, deviation = float(np.mean(norms)), float(np.std(norms))
    bound = mean + deviation * 2.5**2 / ((50.0 - mean) / deviation)
    assert bench.norm_after(50.0) == pytest.approx(bound, rel=1e-4)
    assert bench.policy.mean == pytest.approx(0.97 * mean + 0.03 * bound)
    assert bench.norm_after(1.1) == pytest.approx(1.1, rel=1e-4)


def test_adagc_clips_each_parameter_by_its_own_average() -> None:
    bench = Bench(AdaGC(warmup=3, warmup_max_norm=10.0))
    for norm in (2.0, 1.0, 3.0):
        assert bench.norm_after(norm) == pytest.approx(norm, rel=1e-4)
    assert bench.norm_after(500.0) == pytest.approx(1.05, rel=1e-4), "1.05 × the smallest norm of the warmup"
    kept = [float(p.grad.norm()) for p in bench.parameters if p.grad is not None]
    assert kept == pytest.approx([1.05 * math.sqrt(12 / 17), 1.05 * math.sqrt(5 / 17)], rel=1e-4)


def test_adagc_lets_a_parameter_move_that_had_no_gradient_at_first() -> None:
    bench = Bench(AdaGC(warmup=2))
    for _ in range(4):
        bench.norm_after(0.0)
    assert bench.norm_after(0.7) == pytest.approx(0.7, rel=1e-4)


def test_agc_bounds_each_unit_by_its_weights() -> None:
    bench = Bench(AGC(ratio=0.01))
    bench.norm_after(100.0)
    matrix, vector = (p.grad for p in bench.parameters)
    assert matrix is not None and vector is not None
    assert matrix.norm(dim=1).tolist() == pytest.approx([0.01 * 2.0] * 3, rel=1e-4)
    assert float(vector.norm()) == pytest.approx(0.01 * math.sqrt(5), rel=1e-4)
    assert bench.norm_after(1e-4) == pytest.approx(1e-4, rel=1e-4)


@pytest.mark.parametrize("spec", [kind for kind in KINDS if kind.kind != "none"], ids=lambda spec: spec.kind)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nothing_that_is_not_finite_reaches_the_memory(spec: ClippingSpec, bad: float) -> None:
    bench = Bench(spec)
    for _ in range(12):
        bench.norm_after(0.3)
    bench.norm_after(bad)
    assert all(word not in bench.remembered() for word in ("NaN", "Infinity"))
    assert math.isfinite(bench.norm_after(0.3)), "and the guard still works"
    assert bench.norm_after(300.0) < 300.0


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.kind)
def test_training_goes_on_unharmed_after_a_gradient_that_is_not_finite(spec: ClippingSpec) -> None:
    model = tiny_model()
    notebook = Notebook()
    trainer = TrainingLoop(
        model, tiny_spec(clipping=spec, steps=20), tiny_data(), recorder=notebook,
        policies=[PoisonedGradient(model, {9, 10})],
    )  # fmt: skip
    result = trainer.run()
    assert (result.steps_taken, result.steps_refused) == (18, 2)
    assert all(bool(tensor.isfinite().all()) for tensor in weights(model).values())


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.kind)
def test_a_memory_comes_back_through_json(spec: ClippingSpec) -> None:
    if spec.kind == "none":
        return
    bench, other = Bench(spec), Bench(spec)
    for norm in (0.3, 0.2, 4.0, 0.1, 0.3, 0.25, 0.4):
        bench.norm_after(norm)
    other.policy.load_state(cast(Trainer, None), json.loads(bench.remembered()), {})
    assert other.remembered() == bench.remembered()
    assert other.norm_after(5.0) == bench.norm_after(5.0)


def test_the_kinds_differ_where_a_spike_comes() -> None:
    ends = {}
    for spec in KINDS:
        trainer = TrainingLoop(tiny_model(), tiny_spec(clipping=spec), tiny_data())
        trainer.run()
        ends[spec.kind] = weights(trainer.model)
    assert not same_tensors(ends["norm"], ends["none"])
    assert not same_tensors(ends["norm"], ends["agc"])
