"""The loop: learning, bitwise repeatability and resumption, accumulation, refusals, and a clean end."""

import math
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cortexzoo.specs.guards import NoClipping, NoRecovery, NormClipping, NoSpikeDetection
from cortexzoo.specs.recipe import AdamWSpec, AtRandom, Cosine, Never
from cortexzoo.zoo.errors import DataError, TrainingStopped
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Policy, find_policy
from cortexzoo.zoo.training.policies.measuring.swing import raw_loss_ratio, upward_loss_ratio
from cortexzoo.zoo.training.policies.measuring.telemetry import Telemetry
from cortexzoo.zoo.training.recorder import WALL_CLOCK_METRICS
from cortexzoo.zoo.training.result import TrainingResult
from tests.zoo.training.tiny import (
    At,
    Notebook,
    PoisonedGradient,
    PoisonedLoss,
    TinyModel,
    same_tensors,
    tiny_data,
    tiny_model,
    tiny_spec,
    weights,
)

OFF: dict[str, object] = {"spikes": NoSpikeDetection(), "recovery": NoRecovery()}
"""A recipe without anything to return to."""


def run(
    *policies: Policy, seed: int = 0, model: TinyModel | None = None, checkpoints: Path | None = None, **recipe: object
) -> tuple[TrainingLoop, TrainingResult, Notebook]:
    notebook = Notebook()
    trainer = TrainingLoop(
        model or tiny_model(), tiny_spec(seed, **recipe), tiny_data(), recorder=notebook, checkpoints=checkpoints,
        policies=policies,
    )  # fmt: skip
    return trainer, trainer.run(), notebook


def everything(trainer: TrainingLoop) -> dict[str, torch.Tensor]:
    moments = {
        f"{i}.{key}": tensor
        for i, values in trainer.optimizer.state_dict()["state"].items()
        for key, tensor in values.items()
    }
    return {**trainer.model.state_dict(), **moments, **trainer.memory.tensors(), **(trainer._random_state or {})}


def without_clock(notebook: Notebook) -> list[tuple[int, dict[str, float]]]:
    return [(step, {k: v for k, v in row.items() if k not in WALL_CLOCK_METRICS}) for step, row in notebook.rows]


def timeless(result: TrainingResult) -> TrainingResult:
    return replace(result, seconds=0, tokens_per_second=0, peak_memory_bytes=0)


def test_it_learns_and_says_what_came_out() -> None:
    trainer, result, notebook = run(steps=60, accumulation=2)
    losses = notebook.column("train/loss")
    assert list(losses) == list(range(1, 61))
    assert losses[60] < losses[1] - 1
    assert (result.steps_taken, result.steps_refused, result.stopped) == (60, 0, None)
    validations = notebook.column("validation/loss")
    assert list(validations) == list(range(4, 61, 4))
    assert result.validation_loss == validations[60]
    assert result.best_validation_loss == min(validations.values()) == validations[result.best_step]
    assert result.bigram_loss < result.unigram_loss
    assert result.tokens_per_second > 0
    assert result.peak_memory_bytes > 10**7
    assert result.gate_shares.keys() == {"current", "short_term"}
    assert notebook.column("train/stm_size")[60] == 1
    assert notebook.column("train/ltm_size")[60] == 4 * 20
    assert notebook.count("consolidation") == list(range(3, 61, 3))
    rate = notebook.column("train/learning_rate")
    assert rate[6] == 0.01
    assert rate[60] == pytest.approx(0.001)
    assert find_policy(trainer.policies, Telemetry).tokens == 60 * 2 * 4 * 8


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    (one, first, notes), (two, second, other_notes) = run(), run()
    assert same_tensors(everything(one), everything(two))
    assert without_clock(notes) == without_clock(other_notes)
    assert timeless(first) == timeless(second)
    assert without_clock(run(seed=1)[2]) != without_clock(notes)


def test_the_callers_generator_is_left_alone_and_does_not_matter() -> None:
    before = torch.get_rng_state()
    one = run()[0]
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    assert same_tensors(everything(run()[0]), everything(one))


def test_dropout_differs_between_steps_but_measuring_draws_nothing() -> None:
    often, seldom = (
        run(monitor=tiny_spec().recipe.monitor.model_copy(update={"probe_every": every, "validate_every": every}))
        for every in (1, 12)
    )
    assert often[2].column("train/loss") == seldom[2].column("train/loss")


@pytest.mark.parametrize("carry_over", [False, True])
@pytest.mark.parametrize("stop_at", [3, 5, 8])
def test_stopped_and_resumed_equals_never_stopped(tmp_path: Path, stop_at: int, carry_over: bool) -> None:
    recipe = {"accumulation": 2, "consolidation": AtRandom(probability=0.4)}
    whole, expected, notes = run(model=tiny_model(carry_over=carry_over), **recipe)
    stop = At("step_taken", {stop_at}, lambda trainer, step: trainer.stop("interrupted"))
    _, halted, first_notes = run(stop, model=tiny_model(carry_over=carry_over), checkpoints=tmp_path, **recipe)
    assert halted.stopped == "interrupted"
    assert halted.steps_taken == stop_at

    second_notes = Notebook()
    resumed = TrainingLoop(
        tiny_model(seed=9, carry_over=carry_over), tiny_spec(**recipe), tiny_data(), recorder=second_notes,
        policies=[At("step_taken", set(), lambda trainer, step: None)],
    )  # fmt: skip
    resumed.load(tmp_path / "last")
    result = resumed.run()
    assert same_tensors(everything(resumed), everything(whole))
    assert without_clock(first_notes) + without_clock(second_notes) == without_clock(notes)
    assert timeless(result) == timeless(expected)
    assert first_notes.count("consolidation") + second_notes.count("consolidation") == notes.count("consolidation")


def test_best_and_last_are_kept(tmp_path: Path) -> None:
    saved: list[tuple[str, int]] = []
    _, result, notebook = run(checkpoints=tmp_path)
    saved = [(str(detail["name"]), step) for step, kind, detail in notebook.events if kind == "checkpoint"]
    assert [step for name, step in saved if name == "last"] == [5, 10, 12]
    assert [step for name, step in saved if name == "best"][-1] == result.best_step
    for name, position in (("last", 12), ("best", result.best_step)):
        fresh = TrainingLoop(tiny_model(seed=4), tiny_spec(), tiny_data())
        fresh.load(tmp_path / name)
        assert fresh.position == position


def test_accumulation_averages_gradients() -> None:
    plain = {"consolidation": Never(), "clipping": NoClipping(), "steps": 6}
    whole = run(model=tiny_model(dropout=0.0), batch_size=8, **plain)
    parts = run(model=tiny_model(dropout=0.0), batch_size=2, accumulation=4, **plain)
    for name in ("train/loss", "train/gradient_norm"):
        assert list(parts[2].column(name).values()) == pytest.approx(list(whole[2].column(name).values()), rel=1e-5)
    for name, tensor in weights(parts[0].model).items():
        torch.testing.assert_close(tensor, whole[0].model.state_dict()[name])


def test_bf16_keeps_fp32_weights_and_learns() -> None:
    trainer, result, notebook = run(precision="bf16", steps=60)
    assert {p.dtype for p in trainer.model.parameters()} == {torch.float32}
    assert notebook.column("train/loss")[60] < notebook.column("train/loss")[1] - 1
    exact = run(steps=60)[1].validation_loss
    assert result.validation_loss != exact
    assert result.validation_loss == pytest.approx(exact, rel=0.05)


def test_clipping_scales_the_gradient_to_its_bound() -> None:
    norms: list[float] = []

    def measure(trainer: TrainingLoop, step: object) -> None:
        norms.append(math.sqrt(sum(float(p.grad.square().sum()) for p in trainer.trainable if p.grad is not None)))

    class After(At):
        """Stands behind clipping in the order."""

        name = "after"

    trainer = TrainingLoop(
        tiny_model(), tiny_spec(clipping=NormClipping(max_norm=0.01)), tiny_data(), recorder=Notebook()
    )
    trainer.policies.append(After("gradients_known", set(range(1, 13)), measure))
    trainer.run()
    assert norms == pytest.approx([0.01] * 12, rel=1e-3)
    assert min(trainer.recorder.column("train/gradient_norm").values()) > 0.01


def test_swings_are_those_of_the_recorded_curves() -> None:
    ratios = []
    for start in range(0, 27, 3):
        schedule, optimizer = Cosine(warmup_ratio=start / 30), AdamWSpec(learning_rate=1.0)
        _, result, notebook = run(schedule=schedule, optimizer=optimizer, steps=30)
        probed = notebook.column("probe/loss")
        assert list(probed) == list(range(2, 31, 2))
        assert result.loss_ratio == upward_loss_ratio(list(probed), list(probed.values()), 4, start)
        assert result.raw_loss_ratio == raw_loss_ratio(list(notebook.column("train/loss").values()), 4, start) > 1
        assert notebook.column("stability/loss_ratio")[30] == result.loss_ratio
        ratios.append(result.loss_ratio)
    assert max(ratios) > 1.1, "this rate makes the loss swing"


def test_the_last_step_is_validated_too() -> None:
    assert list(run(steps=10)[2].column("validation/loss")) == [4, 8, 10]


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_a_step_that_is_not_finite_moves_nothing(kind: str) -> None:
    snapshots = {}

    def keep(trainer: TrainingLoop, step: object) -> None:
        snapshots[trainer.position] = {name: t.clone() for name, t in everything(trainer).items()}

    model = tiny_model()
    poison = PoisonedLoss({4, 5}) if kind == "loss" else PoisonedGradient(model, {4, 5})
    taken, refused = At("step_taken", {3}, keep), At("step_refused", {5}, keep)
    taken.name = "taken"
    trainer, result, notebook = run(poison, taken, refused, model=model, consolidation=Never())
    assert same_tensors(snapshots[3], snapshots[5])
    assert (result.steps_taken, result.steps_refused) == (10, 2)
    assert [step for step, _, detail in notebook.events if detail.get("reason")] == [4, 5]
    assert list(notebook.column("stability/nonfinite_steps").values()) == [0] * 3 + [1] + [2] * 8
    rate = notebook.column("train/learning_rate")
    assert rate[4] == rate[5] == rate[6] != rate[7]
    assert all(torch.isfinite(t).all() for t in everything(trainer).values())


@pytest.mark.parametrize(("kind", "cause"), [("loss", "loss is nan"), ("gradient", "gradient norm is nan")])
def test_eight_refusals_in_a_row_stop_training(tmp_path: Path, kind: str, cause: str) -> None:
    model = tiny_model()
    steps = set(range(2, 9)) | set(range(10, 30))
    poison = PoisonedLoss(steps) if kind == "loss" else PoisonedGradient(model, steps)
    notebook = Notebook()
    trainer = TrainingLoop(
        model, tiny_spec(steps=30, **OFF), tiny_data(), recorder=notebook, checkpoints=tmp_path, policies=[poison]
    )
    with pytest.raises(TrainingStopped, match=rf"^stopped at step 17: {cause} \(8 refused steps in a row\)$") as raised:
        trainer.run()
    assert raised.value.step == 17
    assert notebook.rows[-1][0] == 17
    assert notebook.events[-1] == (17, "checkpoint", {"name": "last"})
    assert trainer.taken == 2


def test_a_policy_may_refuse_for_its_own_reason() -> None:
    refuse = At("loss_known", set(range(2, 12)), lambda trainer, step: step.refuse("not now"))
    _, result, notebook = run(refuse)
    assert (result.steps_taken, result.steps_refused) == (2, 10)
    assert notebook.column("stability/nonfinite_steps")[12] == 0
    assert notebook.events[0] == (2, "step_refused", {"reason": "not now"})
    assert "train/gradient_norm" not in notebook.rows[1][1]


@pytest.mark.parametrize(("number", "reason"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_signal_ends_after_the_step_and_saves(tmp_path: Path, number: signal.Signals, reason: str) -> None:
    before = {known: signal.getsignal(known) for known in (signal.SIGINT, signal.SIGTERM)}
    send = At("loss_known", {3}, lambda trainer, step: os.kill(os.getpid(), number))
    trainer, result, notebook = run(send, checkpoints=tmp_path)
    assert (result.stopped, result.steps_taken, result.validation_loss) == (reason, 3, None)
    assert notebook.events[-1] == (3, "checkpoint", {"name": "last"})
    assert {known: signal.getsignal(known) for known in before} == before
    assert trainer.run().stopped is None, "the same trainer can go on"
    assert trainer.position == 12


def test_a_second_interrupt_leaves_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)

    def twice(trainer: TrainingLoop, step: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    trainer = TrainingLoop(tiny_model(), tiny_spec(), tiny_data(), policies=[At("batch_ready", {2}, twice)])
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert trainer.position == 1
    assert signal.getsignal(signal.SIGINT) == before


def test_training_runs_outside_the_main_thread() -> None:
    results: list[TrainingResult] = []
    thread = threading.Thread(target=lambda: results.append(run()[1]))
    thread.start()
    thread.join()
    assert timeless(results[0]) == timeless(run()[1])


def test_a_text_that_does_not_fit_is_refused_before_training() -> None:
    with pytest.raises(DataError, match="training part has 16 bytes"):
        TrainingLoop(tiny_model(), tiny_spec(sequence_length=16), tiny_data(20))
    with pytest.raises(DataError, match="vocab_size must be at least"):
        TrainingLoop(tiny_model(vocab_size=10), tiny_spec(), tiny_data())
