"""The slope of time: what makes a linear model look worse does not count, what makes a model quadratic does."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.properties import REGISTRY, growth
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs.suite import Check
from tests.harness import tiny

Cost = Callable[[int, int], float]


class Priced(tiny.Subject):
    """A subject whose calls take as many seconds as a function of rows and length says."""

    cost: Cost
    now = 0.0

    def run(self, model: nn.Module, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
        rows, length = inputs.shape
        object.__setattr__(self, "now", self.now + self.cost(rows, length))
        return inputs, state


def priced(monkeypatch: pytest.MonkeyPatch, cost: Cost) -> Judgement:
    plain = tiny.subject()
    subject = Priced(plain.experiment, plain.model, plain.state, plain.text)
    object.__setattr__(subject, "cost", cost)
    monkeypatch.setattr(time, "process_time", lambda: subject.now)
    return judge(REGISTRY["linear_time"], Check(), subject)


A_TOKEN = 50e-6


def linear(rows: int, length: int) -> float:
    return 1e-3 + rows * length * A_TOKEN


def linear_with_dear_memory(rows: int, length: int) -> float:
    """From some 2000 tokens on memory comes from the system page by page."""
    tokens = rows * length
    return tokens * A_TOKEN * (1.0 if tokens <= 2048 else 1.8)


def a_loop_over_time(rows: int, length: int) -> float:
    return length * (1e-3 + rows * 1e-7)


def attention(rows: int, length: int) -> float:
    return rows * (length * A_TOKEN + length**2 * 1e-7)


@pytest.mark.parametrize("cost", [linear, linear_with_dear_memory, a_loop_over_time])
def test_what_is_linear_passes_whatever_its_fixed_costs(monkeypatch: pytest.MonkeyPatch, cost: Cost) -> None:
    judgement = priced(monkeypatch, cost)
    assert judgement.verdict == "pass", judgement.reason
    assert judgement.observed == pytest.approx(1.0, abs=0.05)


def test_what_is_quadratic_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    judgement = priced(monkeypatch, attention)
    assert judgement.verdict == "fail"
    assert judgement.observed is not None and judgement.observed > 1.3


def test_a_busy_machine_delays_and_does_not_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second call takes half as long again, and every other call of the longest; the least of several counts."""
    calls = 0

    def disturbed(rows: int, length: int) -> float:
        nonlocal calls
        calls += 1
        return linear(rows, length) * (1.5 if calls % 2 else 1.0)

    assert priced(monkeypatch, disturbed).verdict == "pass"


def test_it_measures_on_one_thread_and_gives_the_others_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "LONGEST", 512)
    before = torch.get_num_threads()
    seen: set[int] = set()

    class Watching(tiny.Tiny):
        def embed(self, tokens: Tensor, state: tiny.TinyState) -> Tensor:
            seen.add(torch.get_num_threads())
            return super().embed(tokens, state)

    subject = tiny.subject(Watching())
    seen.clear()
    torch.set_num_threads(2)
    try:
        growth.linear_time(subject, {})
        assert (seen, torch.get_num_threads()) == ({1}, 2)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("values", "slope"), [
    ([100 + n for n in (1, 2, 4)], 0.0),
    ([10 + n for n in (1, 2, 4)], 1.0),
    ([10 + n**2 for n in (1, 2, 4)], 2.0),
    ([50 + 20 * n + n**2 for n in (1, 2, 4)], 1.18),
    ([900 + 20 * n + 4 * n**2 for n in (1, 2, 4)], 0.0),
    ([300 + 20 * n + 4 * n**2 for n in (1, 2, 4)], 1.46),
])  # fmt: skip
def test_memory_that_is_the_same_at_every_length_hides_no_growth(values: list[float], slope: float) -> None:
    assert growth.added_slope(values) == pytest.approx(slope, abs=0.01)
