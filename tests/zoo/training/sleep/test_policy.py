"""A sleep changes trainable weights and nothing else, counts what it did, and may stay only where it does no harm."""

import math
import time
from statistics import fmean
from typing import Any

import pytest
import torch
from torch import nn

from cortexzoo.specs.guards import RecoveryCheckpoints
from cortexzoo.specs.sleep import AcceptHeldOut, Dreaming, NoiseSleep, ReplaySleep
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Step, find_policy
from cortexzoo.zoo.training.policies.measuring.telemetry import Telemetry
from cortexzoo.zoo.training.sleep.anchors import divergence
from cortexzoo.zoo.training.sleep.score import Score
from tests.zoo.training.sleep.asleep import (
    GENERATED,
    KINDS,
    NOISE,
    REPLAY,
    SHORT,
    Around,
    everything,
    notes,
    recorded,
    sleep_of,
    sleeper,
    states,
)
from tests.zoo.training.tiny import At, TinyModel, same_tensors, tiny_model, weights

REFUSED = AcceptHeldOut(max_loss_ratio=1e-6)
"""No model is that good."""
kinds = pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.kind)


def with_acceptance(spec: Dreaming, acceptance: AcceptHeldOut) -> Dreaming:
    return spec.model_copy(update={"acceptance": acceptance})


@kinds
def test_a_sleep_changes_trainable_weights_and_nothing_else(spec: Dreaming) -> None:
    trainer = sleeper(spec)
    around = Around(trainer)
    trainer.run()
    names = {name for name, _ in trainer.model.named_parameters()} | set(trainer.model.state_dict())
    for step, changed in around.changed.items():
        others = {name for name in changed if not name.startswith("sleep ")}
        assert others <= names and bool(others) == (step % 4 == 0), step
    assert sleep_of(trainer).sleeps == 3


@kinds
def test_a_sleep_that_may_not_stay_leaves_the_run_of_one_that_never_slept(spec: Dreaming) -> None:
    asleep, awake = sleeper(with_acceptance(spec, REFUSED)), sleeper(spec)
    awake.policies.remove(sleep_of(awake))
    asleep.run(), awake.run()
    found, expected = ({n: t for n, t in everything(each).items() if "sleep" not in n} for each in (asleep, awake))
    assert same_tensors(found, expected)
    rows = {s: {n: v for n, v in row.items() if not n.startswith("sleep/")} for s, row in recorded(asleep).items()}
    assert rows == recorded(awake)
    assert (sleep_of(asleep).accepted, sleep_of(asleep).sleeps) == (0, 3)
    assert sleep_of(asleep).updates_taken == 9, "they were taken before they were taken back"


@kinds
def test_the_same_seed_dreams_the_same(spec: Dreaming) -> None:
    one, other = sleeper(spec), sleeper(spec)
    one.run(), other.run()
    assert same_tensors(everything(one), everything(other))
    assert recorded(one) == recorded(other)


def test_every_sleep_has_dreams_of_its_own() -> None:
    trainer = sleeper(NOISE)
    trainer.run()
    assert len(set(notes(trainer).column("sleep/loss").values())) == 3


def test_a_sleep_is_recorded_with_what_it_did() -> None:
    trainer = sleeper(NOISE)
    trainer.run()
    events = [(step, detail) for step, kind, detail in notes(trainer).events if kind == "sleep"]
    assert [step for step, _ in events] == [4, 8, 12]
    first = events[0][1]
    assert set(first) == {
        "kind", "number", "updates_taken", "updates_refused", "loss_before", "loss_after", "recall_before",
        "recall_after", "accepted", "reason",
    }  # fmt: skip
    assert (first["kind"], first["number"], first["accepted"], first["reason"]) == ("noise", 1, True, None)
    assert (first["updates_taken"], first["updates_refused"], first["recall_after"]) == (3, 0, None)
    post = notes(trainer).column("sleep/post_loss")
    assert post == {step: detail["loss_after"] for step, detail in events}
    # The step's own validation comes after the sleep.
    assert notes(trainer).column("validation/loss") == post
    assert notes(trainer).column("sleep/updates_taken") == {4: 3, 8: 3, 12: 3}
    # Cross-entropy on random bytes of a model that knows no random bytes.
    assert all(loss > math.log(256) - 0.5 for loss in notes(trainer).column("sleep/loss").values())


@pytest.mark.parametrize("acceptance", [AcceptHeldOut(), REFUSED], ids=["stays", "undone"])
def test_validation_after_a_sleep_takes_the_measurement_that_the_sleep_made(acceptance: AcceptHeldOut) -> None:
    trainer = sleeper(with_acceptance(NOISE, acceptance))
    measured: list[float] = []
    held_out = trainer.objective.held_out

    def counted(trainer: TrainingLoop) -> Any:
        score = held_out(trainer)
        measured.append(score.loss)
        return score

    trainer.objective.held_out = counted  # type: ignore[method-assign, assignment]
    trainer.run()
    validated = notes(trainer).column("validation/loss")
    assert set(validated) == {4, 8, 12}
    assert len(measured) == 6, "before and after each of three sleeps"
    assert validated[12] == held_out(trainer).loss


def test_validation_of_a_step_that_is_undone_after_its_sleep_is_of_the_weights_that_stay() -> None:
    undo = At("step_taken", {8}, lambda _, step: step.undo("for the test"))
    trainer = sleeper(NOISE, undo, recovery=RecoveryCheckpoints(every=2))
    stayed: list[float] = []
    trainer.policies.append(At("step_taken", {8}, lambda t, _: stayed.append(t.objective.held_out(t).loss)))
    trainer.run()
    assert notes(trainer).column("validation/loss")[8] == stayed[0]
    assert notes(trainer).column("sleep/post_loss")[8] != stayed[0]


def test_time_asleep_is_told_apart_from_that_of_the_step() -> None:
    trainer = sleeper(NOISE)
    plain = sleep_of(trainer).score

    def slow(trainer: TrainingLoop) -> Score:
        time.sleep(0.2)
        return plain(trainer)

    sleep_of(trainer).score = slow
    began = time.perf_counter()
    trainer.run()
    asleep = notes(trainer).column("sleep/seconds")
    assert set(asleep) == {4, 8, 12} and min(asleep.values()) > 0.4
    assert find_policy(trainer.policies, Telemetry).seconds + sum(asleep.values()) < time.perf_counter() - began


def test_harm_is_measured_against_the_score_before_the_first_sleep_and_before_this_one() -> None:
    trainer = sleeper(with_acceptance(NOISE, AcceptHeldOut(max_loss_ratio=1.02, max_recall_drop=0.0)))
    scores = [Score(2.0, 0.5), Score(2.03, 0.6), Score(2.03, 0.6), Score(2.05, 0.6), Score(1.0, 0.9), Score(1.0, 0.89)]
    given = iter(scores)
    sleep_of(trainer).score = lambda _: next(given)
    trainer.run()
    events = [detail for _, kind, detail in notes(trainer).events if kind == "sleep"]
    assert [event["accepted"] for event in events] == [True, False, False]
    assert events[1]["reason"] == "the held-out loss is 2.05, at most 2.04 is allowed"
    assert events[2]["reason"] == "recall is 0.89, at least 0.9 is required"
    assert notes(trainer).column("sleep/accepted") == {4: 1.0, 8: 0.0, 12: 0.0}


class Poisoned(type(tiny_model())):  # type: ignore[misc]
    """The training passes of a sleep with these numbers give NaN."""

    passes: set[int]

    def forward(self, tokens: Any, *arguments: Any, **named: Any) -> Any:
        output = super().forward(tokens, *arguments, **named)
        if tokens.shape == (2, 6) and torch.is_grad_enabled():
            self.seen = getattr(self, "seen", 0) + 1
            if self.seen in self.passes:
                output.logits[0, 0, 0] = float("nan")
        return output


def poisoned(*passes: int) -> TrainingLoop:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Poisoned()
    model.passes = set(passes)
    return sleeper(NOISE, model=model)


def test_a_nan_loss_costs_its_update_and_nothing_else() -> None:
    trainer = poisoned(2, 5, 6)
    trainer.run()
    assert notes(trainer).column("sleep/updates_taken") == {4: 2, 8: 1, 12: 3}
    assert notes(trainer).column("sleep/updates_refused") == {4: 1, 8: 2, 12: 0}
    assert (sleep_of(trainer).updates_taken, sleep_of(trainer).updates_refused) == (6, 3)
    assert all(bool(tensor.isfinite().all()) for tensor in everything(trainer).values())
    assert trainer.taken == 12, "every step of training was taken"


def test_a_sleep_of_nan_alone_moves_nothing() -> None:
    trainer = poisoned(1, 2, 3)
    around = Around(trainer)
    trainer.run()
    assert around.changed[4] == set() and around.changed[8]
    assert 4 not in notes(trainer).column("sleep/loss")


def test_a_sleep_that_breaks_the_model_never_stays() -> None:
    trainer = sleeper(NoiseSleep(**{**SHORT, "learning_rate": 3e37}, length=6, acceptance=NOISE.acceptance))
    around = Around(trainer)
    trainer.run()
    assert around.changed[4] == set()
    reasons = {detail["reason"] for _, kind, detail in notes(trainer).events if kind == "sleep"}
    assert reasons == {"the held-out loss is nan"}


def test_a_model_that_can_dream_no_more_has_its_updates_refused() -> None:
    breaking = {"learning_rate": 3e37, "acceptance": NOISE.acceptance}
    trainer = sleeper(GENERATED.model_copy(update=breaking))
    around = Around(trainer)
    trainer.run()
    assert trainer.taken == 12, "training goes on"
    assert notes(trainer).column("sleep/updates_taken") == {4: 1, 8: 1, 12: 1}
    assert notes(trainer).column("sleep/updates_refused") == {4: 2, 8: 2, 12: 2}
    assert around.changed[4] == set()


def test_an_error_in_mid_sleep_leaves_the_weights_of_before() -> None:
    def fail(done: int, _all: int) -> None:
        if done == 2:
            raise RuntimeError("in mid-sleep")

    trainer, control = sleeper(NOISE), sleeper(NOISE, steps=4)
    control.policies.remove(sleep_of(control))
    sleep_of(trainer).progress = fail
    with pytest.raises(RuntimeError, match="in mid-sleep"):
        trainer.run()
    # The schedule's length differs; what counts is that no dream is left in the weights.
    assert notes(trainer).count("sleep") == []
    kept: dict[str, torch.Tensor] = {}
    again = sleeper(NOISE, At("batch_ready", {5}, lambda t, _: kept.update(everything(t))))
    again.policies.remove(sleep_of(again))
    again.run()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in trainer.model.state_dict().items())


def test_a_sleep_waits_for_a_taken_step() -> None:
    trainer = sleeper(NOISE, At("loss_known", {4, 5}, lambda _, step: step.refuse("test")))
    trainer.run()
    assert notes(trainer).count("sleep") == [6, 8, 12]


def test_examples_of_taken_steps_are_kept_and_only_where_they_are_used() -> None:
    trainer = sleeper(REPLAY, At("loss_known", {2}, lambda _, step: step.refuse("test")))
    trainer.run()
    kept = sleep_of(trainer).reservoir
    assert kept.seen == 11 * 4 and len(kept.examples) == 5
    assert all(bool(example.scored.all()) for example in kept.examples)
    for spec, seen in ((NOISE, 0), (GENERATED, 0), (GENERATED.model_copy(update={"ewc_weight": 1.0}), 48)):
        other = sleeper(spec)
        other.run()
        assert sleep_of(other).reservoir.seen == seen


def test_only_what_was_scored_in_training_is_scored_in_replay() -> None:
    def score_the_last_two(_: TrainingLoop, step: Step) -> None:
        assert step.tokens is not None
        step.scored = torch.zeros_like(step.tokens[..., 1:], dtype=torch.bool)
        step.scored[..., -2:] = True

    trainer = sleeper(REPLAY, At("batch_ready", set(range(1, 13)), score_the_last_two))
    trainer.run()
    assert all(example.counted == 2 for example in sleep_of(trainer).reservoir.examples)
    assert sleep_of(trainer).updates_taken == 9


def test_a_rollback_takes_reservoir_and_reference_back() -> None:
    seen: dict[int, Any] = {}

    def look(trainer: TrainingLoop, step: Step) -> None:
        sleep = sleep_of(trainer)
        seen[step.number] = (sleep.reservoir.seen, sleep.reference, sleep.sleeps, sleep.reservoir.tensors())

    roll_back = At("gradients_known", {5, 10}, lambda _, step: step.roll_back("test"))
    trainer = sleeper(REPLAY, roll_back, recovery=RecoveryCheckpoints(every=3))
    watch, watch_refused = At("step_taken", set(range(20)), look), At("step_refused", set(range(20)), look)
    watch.name, watch_refused.name = "watch", "watch refused"
    trainer.policies += [watch, watch_refused]
    trainer.run()
    # Points at steps 3 and, taken from there, 8; the first sleep, at step 4, is undone by the first rollback.
    assert seen[4][1] is not None and seen[5][1] is None
    assert seen[5][0] == seen[3][0] and same_tensors(seen[5][3], seen[3][3])
    assert seen[10][0] == seen[8][0] and same_tensors(seen[10][3], seen[8][3])
    assert seen[10][1] == seen[8][1] is not None
    assert [seen[step][2] for step in (4, 5, 8, 10, 12)] == [1, 1, 2, 2, 3], "no sleep is dreamt twice"
    assert states(trainer)["sleep"]["sleeps"] == 3


def before_and_after(spec: Dreaming, seed: int = 0) -> tuple[TinyModel, TinyModel]:
    """The model right before and right after a long, hot first sleep."""
    hot = {"steps": 20, "learning_rate": 1e-2, "acceptance": NOISE.acceptance}
    trainer = sleeper(spec.model_copy(update=hot), steps=4, seed=seed)
    kept: dict[str, torch.Tensor] = {}
    look = At("step_taken", {4}, lambda t, _: kept.update(weights(t.model)))
    trainer.policies.insert(trainer.policies.index(sleep_of(trainer)), look)
    trainer.run()
    assert sleep_of(trainer).updates_taken == 20
    model = tiny_model()
    model.load_state_dict(kept)
    assert isinstance(trainer.model, TinyModel)
    return model.eval(), trainer.model.eval()


def test_kl_holds_predictions_where_they_were() -> None:
    tokens = torch.randint(256, (8, 20), generator=torch.Generator().manual_seed(0))

    def moved(weight: float) -> float:
        """Mean over five seeds: one sleep alone moves the ratio by a third."""
        sleeps = [before_and_after(NoiseSleep(**SHORT | {"kl_weight": weight}, length=6), seed) for seed in range(5)]
        return fmean(divergence(before(tokens).logits, after(tokens).logits).item() for before, after in sleeps)

    assert 0 < moved(100.0) < 0.3 * moved(0.0)


def test_ewc_holds_weights_that_matter() -> None:
    def moved(weight: float) -> float:
        before, after = before_and_after(ReplaySleep(**SHORT | {"ewc_weight": weight}))
        squares = [
            (p - q).detach().square().sum() for p, q in zip(before.parameters(), after.parameters(), strict=True)
        ]
        return torch.stack(squares).sum().item()

    assert 0 < moved(1e6) < 0.3 * moved(0.0)


def test_only_trainable_parameters_move() -> None:
    model = tiny_model()
    frozen: nn.Parameter = model.long.weight
    frozen.requires_grad_(False)
    before = frozen.clone()
    trainer = sleeper(NOISE, model=model)
    trainer.run()
    assert torch.equal(frozen, before) and frozen.grad is None
    assert sleep_of(trainer).updates_taken == 9
