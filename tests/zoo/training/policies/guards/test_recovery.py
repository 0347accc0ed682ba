"""Returning to a recovery point: bit for bit, past what hurt, counted, and not for ever."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from cortexzoo.specs.guards import (
    AdaptiveClipping,
    AverageRatio,
    NoRecovery,
    NoSpikeDetection,
    RecoveryCheckpoints,
    RobustDeviation,
)
from cortexzoo.specs.recipe import AdamWSpec, EveryInterval
from cortexzoo.zoo.errors import TrainingStopped
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Policy, Step, find_policy
from cortexzoo.zoo.training.policies.guards.recovery import Recovery
from cortexzoo.zoo.training.recorder import WALL_CLOCK_METRICS
from cortexzoo.zoo.training.state.moments import optimizer_tensors
from cortexzoo.zoo.training.state.recovery_point import recoverable_values
from tests.zoo.training.tiny import (
    At,
    Notebook,
    PoisonedGradient,
    TinyModel,
    same_tensors,
    tiny_data,
    tiny_model,
    tiny_spec,
)

RECIPE: dict[str, Any] = {
    "steps": 24,
    "recovery": RecoveryCheckpoints(every=5),
    "spikes": AverageRatio(min_history=3),
    "clipping": AdaptiveClipping(min_history=3),
    "consolidation": EveryInterval(every=2),
}


class RaisedLoss(Policy):
    """Tells the guards of a loss a thousand times as high."""

    name = "raised_loss"

    def __init__(self, steps: set[int]) -> None:
        self.steps = steps

    def loss_known(self, trainer: TrainingLoop, step: Step) -> None:
        if step.number in self.steps:
            step.loss *= 1000


def make(*policies: Policy, model: TinyModel | None = None, **recipe: Any) -> TrainingLoop:
    trainer = TrainingLoop(model or tiny_model(), tiny_spec(**{**RECIPE, **recipe}), tiny_data(), recorder=Notebook())
    trainer.policies[:0] = policies
    return trainer


def everything(trainer: TrainingLoop) -> dict[str, Tensor]:
    parts = {**trainer.model.state_dict(), **optimizer_tensors(trainer), **trainer.random_state()}
    named = {**parts, **{f"memory {name}": tensor for name, tensor in trainer.memory.tensors().items()}}
    return {name: tensor.clone() for name, tensor in named.items()}


def watched(trainer: TrainingLoop, moment: str, steps: set[int]) -> dict[int, tuple[dict[str, Tensor], int, str]]:
    """After these steps: all tensors, the place in the schedule, and the guards' histories."""
    seen: dict[int, tuple[dict[str, Tensor], int, str]] = {}

    def look(trainer: TrainingLoop, step: Step) -> None:
        histories = json.dumps({policy.name: recoverable_values(policy) for policy in trainer.policies})
        seen[step.number] = (everything(trainer), trainer.taken, histories)

    policy = At(moment, steps, look)
    policy.name = f"look at {moment}"
    trainer.policies.append(policy)
    return seen


def notes(trainer: TrainingLoop) -> Notebook:
    assert isinstance(trainer.recorder, Notebook)
    return trainer.recorder


def test_a_rollback_brings_back_every_bit_and_goes_on_past_the_batch() -> None:
    trainer = make(RaisedLoss({13}))
    at_point, after = watched(trainer, "step_taken", {10}), watched(trainer, "step_refused", {13})
    result = trainer.run()
    (tensors, taken, histories), (again, taken_again, histories_again) = at_point[10], after[13]
    assert same_tensors(tensors, again)
    assert (taken, histories) == (taken_again, histories_again)
    assert (result.steps_taken, result.steps_refused, result.steps_undone) == (21, 1, 2)
    assert (result.loss_spikes, result.rollbacks) == (1, 1)
    assert list(notes(trainer).column("train/loss")) == list(range(1, 25)), "every batch is met once"
    rollback = next(detail for step, kind, detail in notes(trainer).events if (step, kind) == (13, "rollback"))
    assert (rollback["to_step"], rollback["undone"]) == (10, 2)
    assert notes(trainer).column("stability/spike_recoveries")[24] == 1
    rate = notes(trainer).column("train/learning_rate")
    assert rate[14] == rate[11], "the schedule went back too"


@pytest.mark.parametrize(("number", "undone"), [(1e30, True), (1001.0, True), (-1001.0, True), (999.0, False)])
def test_a_finite_number_that_no_training_leads_to_is_undone(number: float, undone: bool) -> None:
    def spoil(trainer: TrainingLoop, step: Step) -> None:
        trainer.model.head.bias.data[200] = number  # of a byte that the text does not have

    trainer = make(spikes=NoSpikeDetection())
    trainer.policies[:0] = [At("step_taken", {12}, spoil)]
    trainer.run()
    happened = [(step, detail) for step, kind, detail in notes(trainer).events if kind == "rollback"]
    wanted = {"cause": "weight head.bias has a number far larger than any before", "to_step": 10, "undone": 2}
    assert happened == ([(12, wanted)] if undone else [])


def test_what_follows_equals_a_run_that_went_on_from_there(tmp_path: Path) -> None:
    trainer = make(RaisedLoss({13}))
    trainer.policies.append(At("step_taken", {10}, lambda trainer, step: trainer.save(tmp_path / "point")))
    trainer.run()
    other = make()
    other.load(tmp_path / "point")
    other.position = 13
    other.run()
    assert same_tensors(everything(trainer), everything(other))
    losses = notes(other).column("train/loss")
    assert losses == {step: loss for step, loss in notes(trainer).column("train/loss").items() if step > 13}


@pytest.mark.parametrize("where", ["weight", "moment", "memory"])
def test_a_state_that_is_not_finite_is_found_and_undone(where: str) -> None:
    def spoil(trainer: TrainingLoop, step: Step) -> None:
        if where == "weight":
            trainer.model.head.bias.data[200] = math.nan
        elif where == "moment":
            trainer.optimizer.state[trainer.model.head.bias]["exp_avg"][200] = math.inf
        else:
            trainer.memory.store[0, 0] = math.nan

    trainer = make(At("batch_ready", {13}, spoil))
    result = trainer.run()
    assert result.rollbacks == 1
    assert result.steps_undone <= 5, "at most the recovery interval"
    assert all(bool(tensor.isfinite().all()) for tensor in everything(trainer).values() if tensor.is_floating_point())
    cause = next(str(detail["cause"]) for _, kind, detail in notes(trainer).events if kind == "rollback")
    assert cause.startswith("weight" if where == "moment" else where), "moments reach the weights in the same step"
    assert cause.endswith("is not finite")
    assert math.isfinite(notes(trainer).column("train/loss")[24])


def test_a_state_spoilt_by_the_last_step_is_found_when_the_run_ends() -> None:
    def spoil(trainer: TrainingLoop, step: Step) -> None:
        trainer.model.head.bias.data[3] = math.inf

    trainer = make(At("step_taken", {24}, spoil))
    result = trainer.run()
    assert (result.rollbacks, result.steps_taken) == (1, 20)
    assert bool(trainer.model.head.bias.isfinite().all())


def test_eight_refusals_in_a_row_roll_back_once_and_then_stop() -> None:
    model = tiny_model()
    trainer = make(PoisonedGradient(model, set(range(8, 40))), model=model, steps=40)
    with pytest.raises(
        TrainingStopped, match=r"^stopped at step 23: gradient norm is nan \(8 refused steps in a row\)$"
    ):
        trainer.run()
    assert notes(trainer).count("rollback") == [15]
    assert (trainer.taken, trainer.refused) == (5, 16)


def test_a_taken_step_in_between_makes_a_second_rollback_possible() -> None:
    model = tiny_model()
    bad = set(range(8, 16)) | set(range(18, 26))
    trainer = make(PoisonedGradient(model, bad), model=model, steps=30)
    result = trainer.run()
    assert notes(trainer).count("rollback") == [15, 25]
    assert (result.steps_taken, result.steps_refused, result.steps_undone) == (10, 16, 4)


def test_a_storm_of_rollbacks_stops_with_the_reason() -> None:
    trainer = make(RaisedLoss({8, 12, 16}), recovery=RecoveryCheckpoints(every=5, storm_limit=3, storm_window=10))
    with pytest.raises(
        TrainingStopped, match=r"^stopped at step 16: 3 rollbacks within 10 steps, the last because loss .* is a spike"
    ):
        trainer.run()
    assert trainer.taken == 5, "what stands is the recovery point"
    calm = make(RaisedLoss({8, 14, 20}), recovery=RecoveryCheckpoints(every=5, storm_limit=3, storm_window=10))
    assert calm.run().rollbacks == 3, "spread out further they are no storm"


@pytest.mark.parametrize(
    ("rule", "rollback_at"),
    [(RobustDeviation(min_history=5, window=20), 107), (AverageRatio(min_history=5, window=20, ratio=1.2), 100)],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_a_sustained_harder_text_is_accepted_and_learnt(rule: Any, rollback_at: int) -> None:
    class Harder(Policy):
        """From step 100 on every batch is one that the model has never seen the like of."""

        name = "harder"

        def batch_ready(self, trainer: TrainingLoop, step: Step) -> None:
            if step.number >= 100:
                assert step.tokens is not None
                step.tokens = 255 - step.tokens

    trainer = make(
        Harder(), steps=250, spikes=rule, recovery=RecoveryCheckpoints(every=10), optimizer=AdamWSpec(learning_rate=0.1)
    )
    result = trainer.run()
    losses = notes(trainer).column("train/loss")
    assert (result.steps_refused, result.rollbacks) == (8, 1)
    assert notes(trainer).count("rollback") == [rollback_at]
    assert notes(trainer).count("new_level") == [108]
    assert losses[250] < losses[108] - 1, "and it is learnt"


def test_a_healthy_run_is_the_same_with_and_without_guards() -> None:
    guarded = make(clipping=tiny_spec().recipe.clipping, spikes=RobustDeviation())
    bare = make(clipping=tiny_spec().recipe.clipping, spikes=RobustDeviation(action="skip"), recovery=NoRecovery())
    assert guarded.run().steps_refused == bare.run().steps_refused == 0
    assert same_tensors(everything(guarded), everything(bare))


@pytest.mark.parametrize("stop_at", [3, 9, 12, 13, 14, 20])
def test_stopped_and_resumed_around_a_rollback_equals_never_stopped(tmp_path: Path, stop_at: int) -> None:
    spikes = {13, 18}
    whole = make(RaisedLoss(spikes))
    whole.run()
    first = make(RaisedLoss(spikes))
    stop = At("step_taken", {stop_at}, lambda trainer, step: trainer.stop("interrupted"))
    refused = At("step_refused", {stop_at}, lambda trainer, step: trainer.stop("interrupted"))
    refused.name = "at refused"
    first.policies += [stop, refused]
    first.run()
    first.save(tmp_path / "last")
    second = make(RaisedLoss(spikes), model=tiny_model(seed=8))
    second.policies += [At("step_taken", set(), lambda trainer, step: None)]
    second.policies[-1].name, refused = "at", At("step_taken", set(), lambda trainer, step: None)
    refused.name = "at refused"
    second.policies.append(refused)
    second.load(tmp_path / "last")
    second.run()
    assert same_tensors(everything(second), everything(whole))
    rows = [
        [(step, {k: v for k, v in row.items() if k not in WALL_CLOCK_METRICS}) for step, row in notes(t).rows]
        for t in (first, second, whole)
    ]
    assert rows[0] + rows[1] == rows[2]
    assert notes(first).events + notes(second).events == notes(whole).events
    states = [{p.name: json.dumps(p.state_dict()) for p in t.policies if p.state_dict()} for t in (second, whole)]
    assert [state | {"telemetry": ""} for state in states] == [states[1] | {"telemetry": ""}] * 2


def test_the_point_does_not_change_while_training_goes_on() -> None:
    trainer = make(recovery=RecoveryCheckpoints(every=100))
    recovery = find_policy(trainer.policies, Recovery)
    assert recovery is not None
    start = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer.run()
    assert recovery.point is not None
    assert same_tensors(dict(recovery.point.weights), start)
    assert recovery.point.moments == {}
