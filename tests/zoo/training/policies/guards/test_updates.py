"""Updates out of proportion are undone; schedules, small changes and a lasting new level are not."""

from typing import Any

import pytest

from cortexzoo.specs.guards import NoRecovery, NoSpikeDetection, RecoveryCheckpoints, RobustDeviation
from cortexzoo.specs.recipe import CosineRestarts
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Policy, Step, find_policy
from cortexzoo.zoo.training.policies.guards.updates import UpdateGuard
from tests.zoo.training.tiny import Notebook, same_tensors, tiny_data, tiny_model, tiny_spec

STEPS = 40
QUIET: dict[str, Any] = {"deviations": 1e6, "gradient_deviations": 1e6}


class RateTimes(Policy):
    """Takes some steps at a multiple of their rate."""

    name = "rate_times"

    def __init__(self, factors: dict[int, float]) -> None:
        self.factors = factors

    def gradients_ready(self, trainer: TrainingLoop, step: Step) -> None:
        step.learning_rate *= self.factors.get(step.number, 1.0)


class SmallSecondMoments(Policy):
    """Divides Adam's second moments before one step."""

    name = "small_second_moments"

    def gradients_known(self, trainer: TrainingLoop, step: Step) -> None:
        if step.number == 30:
            for state in trainer.optimizer.state.values():
                state["exp_avg_sq"] /= 1e6


def run(*policies: Policy, **recipe: Any) -> tuple[TrainingLoop, list[tuple[int, dict[str, Any]]]]:
    usual = {"steps": STEPS, "spikes": RobustDeviation(**QUIET), "recovery": RecoveryCheckpoints(every=5)}
    notes = Notebook()
    trainer = TrainingLoop(tiny_model(), tiny_spec(**{**usual, **recipe}), tiny_data(), recorder=notes)
    trainer.policies[:0] = policies
    trainer.run()
    return trainer, [(step, detail) for step, kind, detail in notes.events if kind in ("rollback", "new_level")]


@pytest.mark.parametrize("trouble", [RateTimes({30: 100.0}), SmallSecondMoments()], ids=lambda policy: policy.name)
def test_a_damaged_step_is_undone_at_once(trouble: Policy) -> None:
    _, happened = run(trouble)
    assert [(step, detail["to_step"], detail["undone"]) for step, detail in happened] == [(30, 25, 5)]
    assert happened[0][1]["cause"].startswith("the update is ")
    assert happened[0][1]["cause"].endswith(" times the usual one")


def test_a_second_one_soon_after_is_what_updates_are_now() -> None:
    _, happened = run(RateTimes({30: 100.0, **dict.fromkeys(range(33, STEPS + 1), 100.0)}))
    assert [(step, "to_step" in detail) for step, detail in happened] == [(30, True), (33, False)]


def test_restarts_of_the_rate_are_no_outliers() -> None:
    restarts = CosineRestarts(period=25, multiplier=1)
    assert run(schedule=restarts)[1] == []
    late = run(RateTimes({25: 1000.0}), schedule=restarts)[1]
    assert [step for step, _ in late] == [25], "the last step of a period, as large as those of the next"


def test_it_changes_no_bit_where_nothing_is_undone() -> None:
    with_guard, without = run()[0], run(spikes=NoSpikeDetection())[0]
    assert find_policy(with_guard.policies, UpdateGuard) is not None
    assert same_tensors(with_guard.model.state_dict(), without.model.state_dict())


def test_it_needs_something_to_return_to() -> None:
    trainer, happened = run(RateTimes({30: 100.0}), recovery=NoRecovery())
    assert find_policy(trainer.policies, UpdateGuard) is None
    assert happened == []
