"""What keeps weights near those of an earlier text: rates by importance, and a learner that follows slowly."""

from pathlib import Path
from typing import Any

import pytest
import torch

from cortexzoo.specs import SpecError, load_experiment
from cortexzoo.specs.guards import RecoveryCheckpoints
from cortexzoo.specs.objective import Continual, NoReplay
from cortexzoo.specs.plasticity import Metaplasticity, NoProtection, SlowFollower
from cortexzoo.specs.sleep import AcceptAlways, NoSleep, ReplaySleep
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.objectives import build
from cortexzoo.zoo.training.objectives.protection import ATensorAWeight, FollowingSlowly, RatesByImportance
from cortexzoo.zoo.training.policies.base import Step, find_policy
from tests.zoo.training.tiny import At, same_tensors, tiny_model, tiny_spec, weights

EARLIER = TextData.from_bytes(bytes(100 + (3 * i + i * i % 5) % 50 for i in range(1500)), 0.1, 0.1)
LATER = TextData.from_bytes(bytes((i * i + 3 * (i % 7)) % 61 for i in range(2000)), 0.1, 0.1)


@pytest.fixture(autouse=True)
def _two_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "earlier_text", lambda *_: EARLIER)


def trainer_of(protection: Any, policies: Any = (), **recipe: Any) -> TrainingLoop:
    objective = Continual(earlier_steps=6, replay=NoReplay(), protection=protection)
    return TrainingLoop(tiny_model(dropout=0.0), tiny_spec(objective=objective, **recipe), LATER, policies=policies)


def seen_after(steps: set[int]) -> tuple[list[dict[str, torch.Tensor]], At]:
    """Copies of the weights right after these steps, before the objective's policies act."""
    seen: list[dict[str, torch.Tensor]] = []
    return seen, At("step_taken", steps, lambda trainer, _: seen.append(weights(trainer.model)))


def test_a_weight_moves_the_less_the_more_important_it_is() -> None:
    copies, look = seen_after({6, 7})
    trainer = trainer_of(Metaplasticity(strength=4.0), [look], steps=7)
    plain = trainer_of(NoProtection(), steps=7)
    trainer.run()
    plain.run()
    rates = find_policy(trainer.policies, RatesByImportance)
    assert rates is not None
    before, moved = copies
    after, free = weights(trainer.model), weights(plain.model)
    names = [name for name, _ in trainer.model.named_parameters()]
    mean = torch.cat([each.flatten() for each in rates.kept]).mean()
    for name, important in zip(names, rates.kept, strict=True):
        expected = before[name] + (moved[name] - before[name]) / (1 + 4.0 * important / mean)
        assert torch.allclose(after[name], expected, atol=1e-7)
        assert torch.equal(free[name], moved[name]), "up to the change both learn alike"
    assert not same_tensors(after, free)


def test_a_refused_step_leaves_nothing_behind_that_the_next_is_measured_from() -> None:
    trainer = trainer_of(Metaplasticity(strength=4.0), steps=7)
    trainer.run()
    rates = find_policy(trainer.policies, RatesByImportance)
    assert rates is not None
    step = Step(8)
    rates.gradients_known(trainer, step)
    assert rates._before
    rates.step_refused(trainer, step)
    assert not rates._before


def test_importance_is_that_of_the_earlier_text_alone() -> None:
    kept: list[list[torch.Tensor]] = []

    def look(trainer: TrainingLoop, _: Any) -> None:
        rates = find_policy(trainer.policies, RatesByImportance)
        assert rates is not None
        kept.append([each.clone() for each in rates.kept])

    trainer_of(Metaplasticity(), [At("step_taken", {5, 6, 12}, look)]).run()
    fifth, sixth, last = kept
    assert all(torch.equal(one, other) for one, other in zip(sixth, last, strict=True))
    assert not any(torch.equal(one, other) for one, other in zip(fifth, sixth, strict=True))


def test_the_run_ends_with_the_learner_that_followed() -> None:
    copies, look = seen_after({6, 8, 10, 12})
    trainer = trainer_of(SlowFollower(rate=0.25, every=2), [look])
    trainer.run()
    slow, *later = copies
    for fast in later:
        slow = {name: slow[name] + 0.25 * (fast[name] - slow[name]) for name in slow}
    ended = weights(trainer.model)
    assert all(torch.allclose(ended[name], slow[name], atol=1e-6) for name in slow)
    assert not torch.allclose(ended["embedding.weight"], copies[-1]["embedding.weight"])


def test_the_fast_learner_learns_as_without_the_slow_one() -> None:
    trainer, plain = trainer_of(SlowFollower()), trainer_of(NoProtection())
    copies, look = seen_after({12})
    trainer.policies.insert(0, look)
    trainer.run()
    plain.run()
    assert same_tensors(copies[0], weights(plain.model))


@pytest.mark.parametrize("protection", [Metaplasticity(), SlowFollower(every=2)])
@pytest.mark.parametrize("stop", [4, 9])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path, protection: Any, stop: int) -> None:
    whole = trainer_of(protection)
    whole.run()
    first = trainer_of(protection, [At("step_taken", {stop}, lambda trainer, _: trainer.stop("interrupted"))])
    assert first.run().stopped == "interrupted"
    first.save(tmp_path / "kept")
    second = trainer_of(protection, [At("step_taken", set(), lambda *_: None)])
    second.load(tmp_path / "kept")
    second.run()
    assert same_tensors(weights(second.model), weights(whole.model))


def test_a_refused_step_leaves_the_slow_learner_in_step() -> None:
    refuse = At("loss_known", {6, 12}, lambda _, step: step.refuse("for the test"))
    trainer = trainer_of(SlowFollower(rate=0.5, every=1), [refuse])
    trainer.run()
    slow = find_policy(trainer.policies, FollowingSlowly)
    assert slow is not None
    assert all(torch.equal(p, s) for p, s in zip(trainer.model.parameters(), slow.kept, strict=True))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("recipe.objective.protection={kind: metaplasticity, strength: 0.0}", "protection.strength must be > 0, got 0"),
        ("recipe.objective.protection={kind: slow_follower, rate: 2.0}", "protection.rate must be <= 1, got 2"),
        (
            "recipe.objective.replay={kind: generated, rows: 8}",
            "objective.replay.rows must be below batch_size = 8, got 8",
        ),
    ],
)
def test_a_mistake_is_one_line(change: str, line: str) -> None:
    with pytest.raises(SpecError) as raised:
        load_experiment("cortexgpt-stable", ["recipe=continual", change])
    (told,) = raised.value.lines
    assert line in told


def test_protection_needs_all_weights_on_every_process() -> None:
    with pytest.raises(SpecError) as raised:
        load_experiment(
            "cortexgpt-stable",
            ["recipe=continual", "recipe.objective.protection={kind: slow_follower}", "recipe.parallel={kind: fsdp2}"],
        )
    assert "parallel.kind must be none or ddp with objective.protection, got fsdp2" in raised.value.lines[0]


@pytest.mark.parametrize(
    "protection", [Metaplasticity(memory=0.5), SlowFollower(rate=0.5, every=1)], ids=lambda p: p.kind
)
def test_what_is_kept_returns_with_the_weights(protection: Any) -> None:
    kept: list[list[torch.Tensor]] = []

    def look(trainer: Any, _: Step) -> None:
        own = next(p for p in trainer.policies if isinstance(p, ATensorAWeight))
        kept.append([each.clone() for each in [*own.kept, *trainer.trainable]])

    back = At("loss_known", {5, 10}, lambda _, step: step.roll_back("for the test"))
    trainer = trainer_of(protection, [back], recovery=RecoveryCheckpoints(every=4, storm_limit=9))
    trainer.policies += [At("step_taken", {4, 9}, look), At("step_refused", {5, 10}, look)]
    trainer.run()
    assert len(kept) == 4
    for then, now in (kept[:2], kept[2:]):
        assert len(then) == len(now) and all(torch.equal(a, b) for a, b in zip(then, now, strict=True))


def test_the_slow_copy_replaces_the_weights_also_where_the_last_step_is_rolled_back() -> None:
    back = At("loss_known", {8}, lambda _, step: step.roll_back("for the test"))
    trainer = trainer_of(
        SlowFollower(rate=0.5, every=1), [back], steps=8, recovery=RecoveryCheckpoints(every=1, storm_limit=9)
    )
    trainer.run()
    slow = find_policy(trainer.policies, FollowingSlowly)
    assert slow is not None and slow.kept
    assert all(torch.equal(a, b) for a, b in zip(trainer.trainable, slow.kept, strict=True))


def test_a_sleep_comes_after_a_step_was_held_back_and_is_not_held_back_itself() -> None:
    sleep = ReplaySleep(every=7, steps=3, batch_size=2, reservoir=4, acceptance=AcceptAlways())
    before: list[dict[str, torch.Tensor]] = []
    look = At("gradients_known", {7}, lambda trainer, _: before.append(weights(trainer.model)))
    held = [trainer_of(Metaplasticity(strength=1e12), [look], steps=7, sleep=each) for each in (sleep, NoSleep())]
    for trainer in held:
        trainer.run()
    moved = [
        max(float((after - then[name]).abs().max()) for name, after in weights(trainer.model).items())
        for trainer, then in zip(held, before, strict=True)
    ]
    assert moved[1] < 1e-6 < 1e-5 < moved[0], "the step alone moves hardly anything, the sleep does"


def test_the_loss_that_is_told_at_the_end_is_that_of_the_slow_learner() -> None:
    sleep = ReplaySleep(every=8, steps=3, batch_size=2, reservoir=4, acceptance=AcceptAlways())
    trainer = trainer_of(SlowFollower(rate=0.3, every=1), steps=8, sleep=sleep)
    assert trainer.run().validation_loss == pytest.approx(trainer.objective.held_out(trainer).loss)
