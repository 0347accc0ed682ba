"""Planted defects, one for each property: shows that the judging code still works after the module's code has run.

A module shares its process with the code that judges it. One that replaces a function of torch or of this package, by
accident or on purpose, would change the verdicts. So after a verdict in a module's favour the same code must find the
defect of a module made for it; where it does not, there is no verdict.
"""

import itertools
import time

import torch
from torch import Tensor, nn

from cortexzoo.harness.checking.modules.inputs import Inputs
from cortexzoo.harness.checking.modules.subject import BareSubject, seeded
from cortexzoo.specs.properties import PropertyName

WIDTH, LONGEST, SHORT = 8, 512, 40
SECONDS = 0.02
"""CPU time of a call at `LONGEST` that takes eight times as long for twice the length."""
_built = itertools.count(1)


class Sound(nn.Module):
    """A map of each vector by itself, which has none of the defects."""

    scales_linearly = True
    max_length = LONGEST

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] to [B, T, D]."""
        mapped: Tensor = self.map(x)
        return mapped


class _Acausal(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x.mean(dim=1, keepdim=True)


class _RowsMixed(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x.mean(dim=0, keepdim=True)


class _Counting(Sound):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x) + self.calls


class _NotFinite(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 0.0


class _Unused(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))


class _OneSource(Sound):
    def gate_readings(self) -> dict[str, Tensor]:
        """All from one source."""
        return {"one": torch.ones(()), "other": torch.zeros(())}


class _Forgetting(Sound):
    def initial_state(self, batch_size: int) -> Tensor:
        """The sum so far [B, 1, D], which is forgotten."""
        return torch.zeros(batch_size, 1, WIDTH)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return super().forward(x) + state + x.cumsum(dim=1), torch.zeros_like(state)


class _Raising(Sound):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("a planted defect")


class _Deaf(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.zeros_like(x))


class _Unrepeatable(Sound):
    """Each one that is built scales by another number, which is in no state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = float(next(_built))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.scale


class _Slow(Sound):
    def forward(self, x: Tensor) -> Tensor:
        until = time.process_time() + SECONDS * (x.shape[1] / LONGEST) ** 3
        while time.process_time() < until:
            pass
        return super().forward(x)


class _Large(Sound):
    def forward(self, x: Tensor) -> Tensor:
        pairs = (x[:, :, None] * x[:, None]).exp()
        return super().forward(x) + pairs.mean(dim=2)


class _Unmasked(Sound):
    padding_side = "right"

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return super().forward(x) + x.mean(dim=1, keepdim=True)


DEFECTIVE: dict[PropertyName, type[Sound]] = {
    "causality": _Acausal,
    "batch_isolation": _RowsMixed,
    "repeatability": _Counting,
    "finite_gradients": _NotFinite,
    "every_parameter_learns": _Unused,
    "gate_balance": _OneSource,
    "chunk_invariance": _Forgetting,
    "any_shape_works": _Raising,
    "own_token_counts": _Deaf,
    "determinism": _Unrepeatable,
    "save_and_load": _Unrepeatable,
    "linear_time": _Slow,
    "linear_memory": _Large,
    "padding_changes_nothing": _Unmasked,
}


def control_subject(name: PropertyName) -> BareSubject:
    """A module that does not have the property."""
    factory = DEFECTIVE[name]
    return BareSubject(factory, seeded(factory, 0), Inputs("vectors", WIDTH), longest=SHORT)
