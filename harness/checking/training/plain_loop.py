"""A user's training loop with guards again: what should become of every step, from the documentation alone.

Which steps are refused and undone is `ReferenceGuards`'s, clipping `ReferenceClipping`'s; the optimiser is torch's.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from cortexzoo.harness.checking.training.reference_clipping import ReferenceClipping
from cortexzoo.harness.checking.training.reference_guards import ReferenceGuards, Seen, point_now
from cortexzoo.specs import guards

SHAPES = ((3, 2), (4,), (2, 5))
RATE, SHRINKING, FOLLOWED = 1e-2, 0.99, 0.2
EXACT = 64
"""Losses are multiples of 1 / 64, so that the mean of two of them is exact."""


@dataclass(frozen=True)
class Told:
    """A step of the script: its loss, and the norm of all gradients together."""

    loss: float
    norm: float


def script(count: int, troubles: Mapping[int, Told]) -> list[Told]:
    """Losses about 2 and norms about 1, but for the troubles; the first step is 1."""
    random = torch.Generator().manual_seed(0)
    losses = ((2 + 0.1 * torch.randn(count, generator=random)) * EXACT).round() / EXACT
    norms = (0.2 * torch.randn(count, generator=random)).exp()
    usual = map(Told, losses.tolist(), norms.tolist())
    return [troubles.get(number, told) for number, told in enumerate(usual, start=1)]


class Weights(nn.Module):
    """A few weights and a buffer; nothing is computed with them, their gradients are told."""

    counted: Tensor

    def __init__(self) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(1)
        self.tensors = nn.ParameterList(torch.randn(shape, generator=random) for shape in SHAPES)
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)
        self.register_buffer("counted", torch.zeros(()))

    def tell(self, number: int, norm: float) -> float:
        """Gradients with this norm, in a direction of the step's own; the norm as it came out. A step is counted."""
        random = torch.Generator().manual_seed(number)
        drawn = [torch.randn(tensor.shape, generator=random) for tensor in self.tensors]
        length = math.sqrt(sum(float(one.square().sum()) for one in drawn))
        for tensor, direction in zip(self.tensors, drawn, strict=True):
            tensor.grad = direction * (norm / length)
        self.counted += 1
        return math.sqrt(sum(float(tensor.grad.double().square().sum()) for tensor in self.tensors))


class Follower:
    """A moving mean of the weights, whose state is the tensors that it has, and who takes those that it is given."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.means = [tensor.detach().clone() for tensor in tensors]

    def follow(self, tensors: Sequence[Tensor]) -> None:
        """In place."""
        for mean, tensor in zip(self.means, tensors, strict=True):
            mean.lerp_(tensor.detach(), FOLLOWED)

    def state_dict(self) -> dict[str, Any]:
        return {"means": self.means}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self.means = state_dict["means"]


class Loop:
    """Weights with an optimiser, a schedule and what follows the weights: what a guard is put around."""

    def __init__(self, *, adam: bool = True) -> None:
        self.model = Weights()
        trained = list(self.model.tensors)
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.AdamW(trained, lr=RATE) if adam else torch.optim.SGD(trained, lr=RATE)
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: SHRINKING**step)
        self.follower = Follower(trained)

    @property
    def parts(self) -> tuple[Any, ...]:
        """Everything that a step changes."""
        return self.model, self.optimizer, self.schedule, self.follower

    def over(self) -> None:
        """What comes after each step that was taken."""
        self.schedule.step()
        self.follower.follow(list(self.model.tensors))

    def state(self) -> dict[str, Any]:
        """A copy of everything that a step changes."""
        return copy.deepcopy({type(part).__name__: part.state_dict() for part in self.parts})

    def set_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        for part in self.parts:
            part.load_state_dict(copy.deepcopy(state[type(part).__name__]))

    def tensors(self) -> Iterator[Tensor]:
        """All weights, buffers, moments, what follows the weights, and the rate."""
        yield from self.model.state_dict().values()
        yield from self.follower.means
        for one, name in product(self.model.tensors, ("exp_avg", "exp_avg_sq", "step")):
            if name in self.optimizer.state[one]:
                yield self.optimizer.state[one][name]
        yield torch.tensor([group["lr"] for group in self.optimizer.param_groups])


class PlainLoop(Loop):
    """The loop with its guards written out."""

    def __init__(self, spec: guards.SpikeSpec, recovery: guards.RecoverySpec, clipping: guards.ClippingSpec) -> None:
        super().__init__()
        self.guards, self.clipping = ReferenceGuards(spec, recovery), ReferenceClipping(clipping)
        self._point = self._now()
        self.norm = math.nan
        """Of the last step's gradients."""

    def step(self, number: int, told: Told) -> None:
        """Take, refuse or undo it."""
        norm = self.norm = self.model.tell(number, told.norm)
        self.guards.step(number, Seen(told.loss, norm))
        course = self.guards.course
        if course.taken[-1:] == [number]:
            self.clipping.clip(list(self.model.tensors), norm)
            self.optimizer.step()
            self.clipping.step_taken()
            self.over()
            if self.guards.point.step == number:
                self._point = self._now()
        elif course.rollbacks and course.rollbacks[-1][0] == number:
            state, clipping = self._point
            self.set_state(state)
            self.clipping = copy.deepcopy(clipping)
        self.optimizer.zero_grad()

    def begun_anew(self, number: int) -> None:
        """After step `number` another process goes on: what is returned to is taken anew."""
        self.guards.point = point_now(self.guards, number)
        self._point = self._now()

    def _now(self) -> tuple[dict[str, Any], ReferenceClipping]:
        return self.state(), copy.deepcopy(self.clipping)


def apart(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """The largest difference, relative to the largest number; infinity for other shapes or another number of them."""
    if [one.shape for one in found] != [one.shape for one in wanted]:
        return math.inf
    worst = 0.0
    for one, other in zip(found, wanted, strict=True):
        scale = max(float(other.double().abs().max()), 1e-12)
        worst = max(worst, float((one.double() - other.double()).abs().nan_to_num(nan=math.inf).max()) / scale)
    return worst
