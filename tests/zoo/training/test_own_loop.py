"""Guards in a loop of one's own: the same refusals, clips and rollbacks as in the trainer."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from cortexzoo.specs import RecipeSpec, load
from cortexzoo.zoo.errors import TrainingStopped
from cortexzoo.zoo.training.own_loop import LoopGuard, StepResult


class Notes:
    def __init__(self) -> None:
        self.events: list[tuple[int, str]] = []
        self.rows: list[dict[str, float]] = []

    def metrics(self, step: int, values: object) -> None:
        self.rows.append({"step": step, **dict(values)})  # type: ignore[call-overload]

    def event(self, step: int, kind: str, detail: object) -> None:
        self.events.append((step, kind))


def recipe(*changes: str) -> RecipeSpec:
    return load("robust", "recipe", changes)


class Loop:
    """A linear map that learns a line, and what a user writes around it."""

    def __init__(self, spec: RecipeSpec) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(3, 1)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.01)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: 0.99**step)
        self.notes = Notes()
        self.guard = LoopGuard(self.model, self.optimizer, spec, others=[self.schedule], recorder=self.notes)

    def loss(self) -> Tensor:
        x = torch.randn(8, 3)
        return (self.model(x) - x.sum(1, keepdim=True)).square().mean()

    def attempt(self, *, loss_times: float = 1.0, gradient: float | None = None) -> StepResult:
        loss = self.loss() * loss_times
        loss.backward()
        if gradient is not None:
            for parameter in self.model.parameters():
                parameter.grad = torch.full_like(parameter, gradient)
        outcome = self.guard.step(loss)
        if outcome:
            self.schedule.step()
        return outcome

    def weights(self) -> list[Tensor]:
        moments = [t for state in self.optimizer.state.values() for t in state.values()]
        return [p.detach().clone() for p in (*self.model.parameters(), *moments)]


def test_a_state_without_rollbacks_begins_with_none() -> None:
    loop = Loop(recipe())
    state = loop.guard.state_dict()
    del state["rollbacks"], state["rollback_steps"]
    loop.guard.rollbacks = 3
    loop.guard.load_state_dict(state)
    assert loop.guard.rollbacks == 0


def test_without_trouble_it_is_the_loop_without_a_guard() -> None:
    plain, watched = (Loop(recipe("clipping={kind: none}")) for _ in range(2))
    torch.manual_seed(1)
    for _ in range(30):
        plain.loss().backward()
        plain.optimizer.step()
        plain.schedule.step()
        plain.optimizer.zero_grad()
    torch.manual_seed(1)
    assert all(watched.attempt() for _ in range(30))
    assert all(torch.equal(a, b) for a, b in zip(plain.weights(), watched.weights(), strict=True))


@pytest.mark.parametrize("trouble", [{"loss_times": math.nan}, {"loss_times": 1e4}, {"gradient": math.inf}])
def test_a_bad_step_moves_nothing(trouble: dict[str, float]) -> None:
    loop = Loop(recipe("recovery={kind: none}", "spikes={kind: robust}"))
    for _ in range(25):
        loop.attempt()
    before = loop.weights()
    outcome = loop.attempt(**trouble)
    assert not outcome
    assert outcome.refused
    assert all(torch.equal(a, b) for a, b in zip(before, loop.weights(), strict=True))
    assert all(parameter.grad is None for parameter in loop.model.parameters())
    assert loop.notes.events == [(26, "step_refused")]
    assert loop.attempt()


def test_gradients_are_clipped_to_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(recipe("clipping={kind: norm, max_norm: 0.5}"))
    take, seen = loop.guard._take_step, []

    def watched() -> None:
        seen.append(float(get_total_norm([p.grad for p in loop.model.parameters() if p.grad is not None])))
        take()

    monkeypatch.setattr(loop.guard, "_take_step", watched)
    loop.attempt(gradient=100.0)
    assert seen == [pytest.approx(0.5)]


def test_a_rollback_brings_back_weights_moments_and_schedule() -> None:
    loop = Loop(recipe("recovery={kind: checkpoints, every: 10}", "spikes={kind: robust, action: rollback}"))
    for _ in range(20):
        loop.attempt()
    before, rate = loop.weights(), loop.schedule.get_last_lr()
    for _ in range(7):
        loop.attempt()
    outcome = loop.attempt(loss_times=1e4)
    assert outcome.rolled_back
    assert all(torch.equal(a, b) for a, b in zip(before, loop.weights(), strict=True))
    assert loop.schedule.get_last_lr() == rate, "the loop steps it after the copy of the weights was taken"
    assert loop.optimizer.param_groups[0]["lr"] == rate[0]
    assert loop.guard.taken == 20
    assert (28, "rollback") in loop.notes.events
    assert loop.notes.rows[-1]["stability/spike_recoveries"] == 1


def test_it_gives_up_after_values_in_a_row_that_are_not_finite() -> None:
    loop = Loop(recipe("recovery={kind: none}"))
    assert not any(loop.attempt(loss_times=math.nan) for _ in range(7))
    with pytest.raises(TrainingStopped, match="refused steps in a row"):
        loop.attempt(loss_times=math.nan)


def test_its_state_goes_through_a_checkpoint() -> None:
    one, two = Loop(recipe()), Loop(recipe())
    torch.manual_seed(2)
    for _ in range(30):
        one.attempt()
    two.model.load_state_dict(one.model.state_dict())
    two.optimizer.load_state_dict(copy.deepcopy(one.optimizer.state_dict()))
    two.schedule.load_state_dict(one.schedule.state_dict())
    two.guard.load_state_dict(one.guard.state_dict())
    outcomes = []
    for loop in (one, two):
        torch.manual_seed(3)
        outcomes.append([loop.attempt(loss_times=1e4 if i == 3 else 1.0).refused for i in range(6)])
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][3] is not None
    assert all(torch.equal(a, b) for a, b in zip(one.weights(), two.weights(), strict=True))


def test_an_installed_guard_stands_in_for_the_optimisers_step() -> None:
    loop = Loop(recipe("recovery={kind: none}"))
    loop.guard.install()
    before = loop.weights()
    loop.loss().backward()
    loop.guard.observe(math.nan)
    loop.optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, loop.weights(), strict=True))

    def closure() -> Tensor:
        loss = loop.loss()
        loss.backward()
        return loss

    assert float(loop.optimizer.step(closure).detach()) > 0
    assert loop.guard.taken == 1
    assert not torch.equal(before[0], loop.weights()[0])
    loop.loss().backward()
    loop.optimizer.step()
    assert loop.guard.taken == 2, "without a loss gradients alone are looked at"


def test_an_update_out_of_proportion_is_undone() -> None:
    loop = Loop(recipe("recovery={kind: checkpoints, every: 10}", "spikes={kind: robust}"))
    for _ in range(30):
        loop.attempt()
    before = loop.weights()
    for _ in range(4):
        assert not loop.attempt().rolled_back
    for state in loop.optimizer.state.values():
        state["exp_avg_sq"] /= 1e6
    outcome = loop.attempt()
    assert outcome.rolled_back
    assert all(torch.equal(a, b) for a, b in zip(before, loop.weights(), strict=True))
    assert (loop.guard.taken, loop.guard.rollbacks) == (30, 1)


def test_a_state_from_before_a_guard_existed_is_taken_over() -> None:
    one, two = Loop(recipe()), Loop(recipe())
    for _ in range(5):
        one.attempt()
    state = one.guard.state_dict()
    del state["policies"]["updates"]
    two.guard.load_state_dict(state)
    assert (two.guard.number, two.guard.state_dict()["policies"]["updates"]["sizes"]) == (5, [])


def test_a_number_that_no_training_leads_to_is_undone() -> None:
    loop = Loop(recipe("recovery={kind: checkpoints, every: 10}", "spikes={kind: none}"))
    for _ in range(15):
        assert not loop.attempt().rolled_back
    with torch.no_grad():
        loop.model.weight[0, 0] = 2000.0
    assert loop.attempt().rolled_back
    assert float(loop.model.weight.detach().abs().max()) < 10
    assert loop.guard.taken == 10
