"""Modules of a user, as a spec names them: stateless, with a state of their own, a model of the zoo, and mistakes."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState, ModelOutput

VOCAB = 256


class Windowed(nn.Module):
    """Learned positions, as many as `positions`: a longer text has none."""

    def __init__(self, width: int, positions: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, width)
        self.positions = nn.Embedding(positions, width)
        self.out = nn.Linear(width, VOCAB)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        mean = x.cumsum(1) / torch.arange(1, x.shape[1] + 1, device=x.device)[:, None]
        logits: Tensor = self.out(x + mean)
        return logits


class Carried(nn.Module):
    """A recurrent layer and a count of tokens, carried."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, width)
        self.mixer = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, VOCAB)

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        return {"hidden": self.out.weight.new_zeros(1, batch_size, self.out.in_features), "seen": 0}

    def forward(self, tokens: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        x = self.embedding(tokens)
        mixed, hidden = self.mixer(x, state["hidden"])
        return self.out(x + mixed), {"hidden": hidden, "seen": state["seen"] + tokens.shape[1]}


@dataclass(frozen=True)
class SumState(MemoryState):
    total: Tensor

    def tensors(self) -> dict[str, Tensor]:
        return {"total": self.total}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "SumState":
        return cls(tensors["total"])

    def sizes(self) -> dict[str, int]:
        return {"stm": 1}


class OfTheZoo(MemoryLanguageModel[SumState]):
    def __init__(self) -> None:
        super().__init__()
        self.vocab_size = VOCAB
        self.embedding = nn.Embedding(VOCAB, 8)
        self.out = nn.Linear(8, VOCAB)

    def initial_state(self, batch_size: int) -> SumState:
        return SumState(self.out.weight.new_zeros(batch_size, 8))

    def forward(
        self, tokens: Tensor, state: SumState | None = None, disabled: Collection[str] = ()
    ) -> ModelOutput[SumState]:
        state = self.initial_state(len(tokens)) if state is None else state
        x = state.total[:, None] + self.embedding(tokens).cumsum(1)
        return ModelOutput(self.out(x), SumState(x[:, -1].detach()))


class Broken(Windowed):
    def forward(self, tokens: Tensor) -> Tensor:
        raise RuntimeError("the third line is wrong")


class Returning(nn.Module):
    def __init__(self, what: Any, begins: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.what = what
        if begins:
            self.initial_state = lambda rows: self.what

    def forward(self, tokens: Tensor, state: Any = None) -> Any:
        return self.what


def windowed(width: int = 8, positions: int = 64, scale: float = 1.0, name: str = "") -> nn.Module:
    module = Windowed(width, positions)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(scale)
    return module


def carried(width: int = 8) -> nn.Module:
    return Carried(width)


def of_the_zoo() -> nn.Module:
    return OfTheZoo()


def broken() -> nn.Module:
    return Broken(8, 8)


def too_few_logits() -> nn.Module:
    return Returning(torch.zeros(1, 2, 100), begins=False)


def no_logits() -> nn.Module:
    return Returning("words", begins=False)


def no_state() -> nn.Module:
    return Returning((torch.zeros(1, 2, VOCAB), object()), begins=True)


def no_module() -> int:
    return 3


def raises() -> nn.Module:
    raise ValueError("no such size")


def needs(width: int) -> nn.Module:
    return windowed(width)


def without_parameters() -> nn.Module:
    return nn.Identity()


WORDS = "not a function"
