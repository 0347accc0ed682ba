"""Gradients against finite differences where there is no time for each parameter: all at once, then one by one."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cortexzoo.harness.checking.modules import differences
from cortexzoo.harness.checking.modules.inputs import Inputs
from cortexzoo.harness.checking.modules.subject import BareSubject, seeded


class Halved(torch.autograd.Function):
    """The identity, with half of its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1.0

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] / 2


class Stack(nn.Module):
    """Three layers after an embedding; the gradient is halved behind the last one."""

    def __init__(self, halved: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(16, 8)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.halved = halved

    def forward(self, tokens: Tensor) -> Tensor:
        x: Tensor = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x).tanh()
        return Halved.apply(x) if self.halved else x  # type: ignore[no-untyped-call, no-any-return]


def subject(halved: bool) -> BareSubject:
    def make() -> Stack:
        return Stack(halved)

    return BareSubject(make, seeded(make, 0), Inputs("tokens", 16), longest=64, case_seconds=0.0)


def test_a_wrong_gradient_is_found_without_time_for_each_parameter() -> None:
    (name, reason), *others = differences.wrong_gradients(subject(halved=True)).items()
    assert (name, others) == ("embedding.weight", [])
    assert "where finite differences give" in reason
    assert differences.wrong_gradients(subject(halved=False)) == {}


def test_without_time_to_name_it_a_wrong_gradient_is_still_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(differences, "NAMING", -1.0)
    found = differences.wrong_gradients(subject(halved=True))
    assert found.keys() == {"all"}
    assert "of all parameters together" in found["all"]


class Dropped(nn.Module):
    """Dropout before a layer whose gradient is halved or not."""

    def __init__(self, halved: bool) -> None:
        super().__init__()
        self.embedding, self.dropout, self.out = nn.Embedding(16, 8), nn.Dropout(0.3), nn.Linear(8, 8)
        self.halved = halved

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.dropout(self.embedding(tokens))
        return self.out(Halved.apply(x) if self.halved else x)  # type: ignore[no-untyped-call, no-any-return]


@pytest.mark.parametrize("halved", [False, True])
def test_dropout_is_no_straight_through_estimator(halved: bool) -> None:
    def make() -> Dropped:
        return Dropped(halved)

    dropped = BareSubject(make, seeded(make, 0), Inputs("tokens", 16), longest=64)
    assert list(differences.wrong_gradients(dropped)) == (["embedding.weight"] if halved else [])


class Faint(nn.Module):
    """Computed in float32 throughout, with a weight that moves the output by little more than its rounding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.faint = nn.Embedding(16, 8), nn.Parameter(torch.full((8,), 0.5))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.embedding(tokens).float() + 2e-5 * self.faint.float()


def test_a_gradient_that_float32_inside_cannot_resolve_is_not_wrong() -> None:
    faint = BareSubject(Faint, seeded(Faint, 0), Inputs("tokens", 16), longest=64)
    assert differences.wrong_gradients(faint) == {}
