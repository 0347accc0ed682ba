"""A third sample of defects, written without trying the properties: what a first shot missed, with healthy twins."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tests.harness.subjects.factories import by_name
from tests.harness.subjects.healthy import VOCAB, WIDTH, Attention, attend, causal

BLOCK = 256


class Block(Attention):
    """Takes at most 256 tokens."""

    def forward(self, tokens: Tensor) -> Any:
        if tokens.shape[1] > BLOCK:
            raise ValueError(f"at most {BLOCK} tokens, got {tokens.shape[1]}")
        return super().forward(tokens)


class CutOff(Attention):
    """Reads the first 256 tokens, and repeats the last output for the others."""

    def forward(self, tokens: Tensor) -> Any:
        read = super().forward(tokens[:, :BLOCK])
        return torch.cat([read, read[:, -1:].expand(-1, tokens.shape[1] - read.shape[1], -1)], 1)


class Seen:
    """Keys and values that grow in place."""

    def __init__(self) -> None:
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []


class InAnObject(Attention):
    """Its state is an object; without one it begins anew."""

    def initial_state(self, _rows: int) -> Seen:
        return Seen()

    def forward(self, tokens: Tensor, state: Seen | None = None) -> Any:
        state = Seen() if state is None else state
        x, q, k, v = self.parts(tokens)
        before = sum(keys.shape[1] for keys in state.keys)
        state.keys.append(k)
        state.values.append(v)
        read = attend(q, torch.cat(state.keys, 1), torch.cat(state.values, 1), causal(tokens.shape[1], before))
        return self.out(x + read), state


DEFAULT = Seen()


class OneDefault(InAnObject):
    """Without a state it goes on with the one that all calls without a state share."""

    def forward(self, tokens: Tensor, state: Seen | None = DEFAULT) -> Any:
        assert state is not None
        if state.keys and len(state.keys[0]) != len(tokens):
            state.keys.clear()
            state.values.clear()
        return super().forward(tokens, state)


class Turned(Attention):
    """Keys and queries are turned by their place, which is counted in float32."""

    counts_in_own_dtype = False

    def turned(self, x: Tensor) -> Tensor:
        dtype = x.dtype if self.counts_in_own_dtype else torch.float32
        angle = torch.arange(x.shape[1], dtype=dtype).float()[:, None] * 0.3 ** torch.arange(WIDTH // 2)
        one, two = x.float().chunk(2, -1)
        parts = [one * angle.cos() - two * angle.sin(), one * angle.sin() + two * angle.cos()]
        return torch.cat(parts, -1).to(x.dtype)

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        return self.out(x + attend(self.turned(q), self.turned(k), v, causal(tokens.shape[1])))


class RoundedPlaces(Turned):
    """Places are counted in the dtype of the weights: in bfloat16, 257 is 256."""

    counts_in_own_dtype = True


class Layers(nn.Module):
    """An LSTM that takes back the state that it gave, and offers no beginning but None."""

    turns_layers = False

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, WIDTH)
        self.rnn = nn.LSTM(WIDTH, WIDTH, num_layers=2, batch_first=True)
        self.out = nn.Linear(WIDTH, VOCAB)

    def forward(self, tokens: Tensor, state: tuple[Tensor, Tensor] | None = None) -> Any:
        read, (hidden, cell) = self.rnn(self.embedding(tokens), state)
        if self.turns_layers and tokens.shape[1] == 1:
            hidden = hidden.flip(0)
        return self.out(read), (hidden, cell)


class TurnedLayers(Layers):
    """After a single token the layers' hidden vectors change places."""

    turns_layers = True


class Rezero(Attention):
    """What attention reads enters by a factor that is zero at the beginning."""

    looks_ahead = False

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.zeros(1))

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        allowed = causal(tokens.shape[1]) | self.looks_ahead
        return self.out(x + self.factor * attend(q, k, v, allowed))


class BehindZero(Rezero):
    """Each token sees all of them, which no output shows before the factor is trained."""

    looks_ahead = True


class Filtered(nn.Module):
    """A causal filter whose weights are a function of the distance, over a length that is fixed."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, WIDTH)
        self.shape = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, WIDTH))
        self.out = nn.Linear(WIDTH, VOCAB)

    def over(self, length: int) -> int:
        """What distances are divided by."""
        return 256

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        places = torch.arange(length, device=tokens.device)
        far = (places[:, None] - places).clamp_min(0)
        weights = self.shape((far / self.over(length)).to(self.out.weight.dtype)[..., None])
        weights = weights * (places[:, None] >= places)[..., None] / (places + 1)[:, None, None]
        read: Tensor = self.out(torch.einsum("tsd,bsd->btd", weights, self.embedding(tokens)))
        return read


class FilteredOverText(Filtered):
    """Distances are shares of the text's length: a text gives other outputs than its beginning alone."""

    def over(self, length: int) -> int:
        return length


class Scriptable(nn.Module):
    """Small enough for torch.jit."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, WIDTH)
        self.out = nn.Linear(WIDTH, VOCAB)

    def forward(self, tokens: Tensor) -> Tensor:
        so_far = torch.arange(1, tokens.size(1) + 1).unsqueeze(1)
        read: Tensor = self.out((self.embedding(tokens).cumsum(1) / so_far).tanh())
        return read


def scripted() -> nn.Module:
    """By torch.jit, whose modules give a new object for each look at a parameter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, and still in use
        module: nn.Module = torch.jit.script(Scriptable())
    return module


THIRD: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "cut_off": (CutOff, "own_token_counts"),
    "one_default": (OneDefault, "repeatability"),
    "rounded_places": (lambda: RoundedPlaces().bfloat16(), "finite_gradients"),
    "turned_layers": (TurnedLayers, "chunk_invariance"),
    "behind_zero": (BehindZero, "causality"),
    "filtered_over_text": (FilteredOverText, "causality"),
}
"""With the property that is about each."""
TWINS: dict[str, Callable[[], nn.Module]] = {
    "block": Block,
    "in_an_object": InAnObject,
    "turned": lambda: Turned().bfloat16(),
    "layers": Layers,
    "rezero": Rezero,
    "filtered": Filtered,
    "scripted": scripted,
}
"""Healthy."""

__getattr__ = by_name(TWINS, THIRD)
