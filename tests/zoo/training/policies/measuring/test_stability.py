"""Variance, percentile, spike score and update size, each against its plain definition."""

import json
from typing import cast

import numpy as np
import pytest

from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Step, Trainer
from cortexzoo.zoo.training.policies.measuring.stability import StabilityMonitor
from tests.zoo.training.tiny import At, Notebook, PoisonedLoss, tiny_data, tiny_model, tiny_spec, weights

NAMES = {
    "stability/loss_variance", "stability/gradient_percentile_90", "stability/loss_spikes",
    "stability/spike_recoveries", "stability/nonfinite_steps", "stability/loss_ratio", "stability/spike_score",
    "train/stm_size", "train/ltm_size", "memory/gate_share/current", "memory/gate_share/short_term",
}  # fmt: skip


def seen(losses: list[float]) -> StabilityMonitor:
    monitor = StabilityMonitor()
    for loss in losses:
        monitor.step_taken(None, Step(1, loss=loss, gradient_norm=1.0))
    return monitor


def test_every_step_has_every_metric() -> None:
    notebook = Notebook()
    TrainingLoop(tiny_model(), tiny_spec(), tiny_data(), recorder=notebook).run()
    assert [NAMES - set(row) for _, row in notebook.rows] == [set()] * 12
    losses, norms = (list(notebook.column(f"train/{name}").values()) for name in ("loss", "gradient_norm"))
    assert notebook.column("stability/loss_variance")[7] == pytest.approx(np.var(losses[:7]))
    assert notebook.column("stability/gradient_percentile_90")[7] == pytest.approx(np.percentile(norms[:7], 90))


def test_the_spike_score_is_the_share_beyond_six_deviations() -> None:
    noise = np.random.default_rng(0)
    calm = (2 + 0.1 * noise.standard_normal(400)).tolist()
    assert seen(calm).spike_score == 0
    spiked = list(calm)
    spiked[200], spiked[300] = 4.0, float("inf")
    assert seen(spiked).spike_score == pytest.approx(100 * 2 / 400)
    assert seen([1.0] * 100 + [50.0]).spike_score == 0, "nothing is known before 128 losses"


def test_its_state_comes_back_through_json() -> None:
    monitor, other = seen(np.random.default_rng(1).normal(2, 1, 300).tolist()), StabilityMonitor()
    other.load_state(cast(Trainer, None), json.loads(json.dumps(monitor.state_dict())), {})
    assert other.state_dict() == monitor.state_dict()


def test_the_update_size_is_that_of_the_weights() -> None:
    sizes: dict[int, float] = {}
    before: dict[str, np.ndarray] = {}

    def look(trainer: TrainingLoop, step: Step) -> None:
        now = {name: p.detach().numpy().copy() for name, p in trainer.model.named_parameters()}
        if before:
            squares = [np.square(now[name] - before[name]).ravel() for name in now]
            sizes[step.number] = float(np.sqrt(np.concatenate(squares).mean()))
        before.update(now)

    notebook = Notebook()
    trainer = TrainingLoop(tiny_model(), tiny_spec(), tiny_data(), recorder=notebook)
    trainer.policies.append(At("step_taken", set(range(1, 13)), look))
    trainer.run()
    measured = notebook.column("stability/update_rms")
    assert list(measured) == [2, 4, 6, 8, 10, 12]
    assert measured == pytest.approx({step: sizes[step] for step in measured}, rel=1e-4)


def test_a_refused_step_has_no_update_and_its_loss_counts_for_the_score_alone() -> None:
    notebook = Notebook()
    model = tiny_model()
    before = weights(model)
    TrainingLoop(model, tiny_spec(), tiny_data(), recorder=notebook, policies=[PoisonedLoss({4})]).run()
    assert before.keys() == weights(model).keys()
    assert 4 not in notebook.column("stability/update_rms")
    variance = notebook.column("stability/loss_variance")
    assert variance[4] == variance[3]
    assert notebook.column("stability/spike_score")[4] == 25.0
