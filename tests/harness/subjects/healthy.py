"""Healthy modules of many kinds: each factory gives one that breaks no property that it offers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from tests.harness.subjects.factories import by_name

WIDTH, VOCAB = 16, 40


def causal(length: int, offset: int = 0) -> Tensor:
    """[T, S + T], True where a token may look; `offset` S tokens came before."""
    return torch.ones(length, offset + length, dtype=torch.bool).tril(offset)


def attend(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> Tensor:
    """Softmax attention, zero where a row may look nowhere."""
    scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~allowed, torch.finfo(q.dtype).min)
    weights = torch.where(allowed.any(-1, keepdim=True), scores.softmax(-1), 0.0)
    return weights.masked_fill(~allowed, 0.0) @ v


class Framed(nn.Module):
    """Embedding, x + mixed(x), vocabulary."""

    def __init__(self, width: int = WIDTH, vocab: int = VOCAB) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, width)
        self.mix = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, vocab)

    def parts(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = self.embedding(tokens)
        return x, *self.mix(x).chunk(3, -1)


class Attention(Framed):
    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        return self.out(x + attend(q, k, v, causal(tokens.shape[1])))


class Heads(Attention):
    def forward(self, tokens: Tensor) -> Any:
        x, *qkv = self.parts(tokens)
        q, k, v = (t.unflatten(-1, (4, -1)).transpose(1, 2) for t in qkv)
        read = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(x + read.transpose(1, 2).flatten(2))


class Window(Attention):
    """Each token sees itself and the 31 before it."""

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        allowed = causal(tokens.shape[1]).triu(-31)
        return self.out(x + attend(q, k, v, allowed))


class Rotary(Attention):
    """With tables of sines that are cached and grow, and are not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.zeros(0, WIDTH // 2), persistent=False)

    def turned(self, x: Tensor) -> Tensor:
        if self.table.shape[0] < x.shape[1]:
            rates = 0.1 ** torch.arange(WIDTH // 2)
            self.table = torch.arange(x.shape[1])[:, None] * rates
        angle = self.table[: x.shape[1]].to(x.dtype)
        one, two = x.chunk(2, -1)
        return torch.cat([one * angle.cos() - two * angle.sin(), one * angle.sin() + two * angle.cos()], -1)

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        return self.out(x + attend(self.turned(q), self.turned(k), v, causal(tokens.shape[1])))


class Learned(Attention):
    """A table of positions, which limits the length, unnamed anywhere."""

    def __init__(self, longest: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(longest, WIDTH) * 0.1)

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        x = x + self.positions[: tokens.shape[1]]
        return self.out(x + attend(q, k, v, causal(tokens.shape[1])))


class Recurrent(nn.Module):
    """An LSTM or GRU of torch with its state carried."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.embedding = nn.Embedding(VOCAB, WIDTH)
        self.cell = {"lstm": nn.LSTM, "gru": nn.GRU}[kind](WIDTH, WIDTH, num_layers=2, batch_first=True)
        self.out = nn.Linear(WIDTH, VOCAB)

    def initial_state(self, rows: int) -> Any:
        zeros = torch.zeros(2, rows, WIDTH, dtype=self.out.weight.dtype)
        return (zeros, zeros.clone()) if self.kind == "lstm" else zeros

    def forward(self, tokens: Tensor, state: Any) -> Any:
        output, state = self.cell(self.embedding(tokens), state)
        return self.out(output), state


class LinearAttention(Framed):
    """Chunks of a matrix memory; with a padding mask, pads write nothing."""

    padding_side = "right"

    def __init__(self, chunk: int = 32) -> None:
        super().__init__()
        self.chunk = chunk

    def initial_state(self, rows: int) -> Tensor:
        return torch.zeros(rows, WIDTH, WIDTH, dtype=self.out.weight.dtype)

    def forward(self, tokens: Tensor, state: Tensor | None = None, mask: Tensor | None = None) -> Any:
        x, q, k, v = self.parts(tokens)
        k = k if mask is None else k * mask[..., None]
        state = self.initial_state(len(tokens)) if state is None else state
        read = []
        for a, b, c in zip(*(t.split(self.chunk, 1) for t in (q, k / WIDTH, v)), strict=True):
            read.append((a @ b.mT).tril() @ c + a @ state)
            state = state + b.mT @ c
        return self.out(x + torch.cat(read, 1)), state


class StateSpace(Framed):
    """A diagonal linear recurrence, computed by a convolution through FFT."""

    def __init__(self) -> None:
        super().__init__()
        self.decay = nn.Parameter(torch.linspace(1.0, 4.0, WIDTH))

    def forward(self, tokens: Tensor) -> Any:
        x, gate, value, skip = self.parts(tokens)
        length = tokens.shape[1]
        kernel = self.decay.sigmoid() ** torch.arange(length)[:, None]
        size = 2 * length
        mixed = torch.fft.irfft(
            torch.fft.rfft(value.float(), size, dim=1) * torch.fft.rfft(kernel.float(), size, dim=0), size, dim=1
        )[:, :length].to(x.dtype)
        return self.out(x + mixed * gate.sigmoid() + skip)


class Shifted(Framed):
    """As RWKV: each token mixed with the one before, then a decaying sum by a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.share, self.decay = nn.Parameter(torch.rand(WIDTH)), nn.Parameter(torch.randn(WIDTH))

    def initial_state(self, rows: int) -> dict[str, Tensor]:
        zeros = torch.zeros(rows, WIDTH, dtype=self.out.weight.dtype)
        return {"last": zeros, "sum": zeros.clone()}

    def forward(self, tokens: Tensor, state: dict[str, Tensor]) -> Any:
        x = self.embedding(tokens)
        before = torch.cat([state["last"][:, None], x[:, :-1]], 1)
        r, k, v = self.mix(x * self.share + before * (1 - self.share)).chunk(3, -1)
        total, read = state["sum"], []
        for step in range(tokens.shape[1]):
            total = total * self.decay.sigmoid() + k[:, step].tanh() * v[:, step]
            read.append(total)
        return self.out(x + r.sigmoid() * torch.stack(read, 1)), {"last": x[:, -1], "sum": total}


class Experts(Framed):
    """Each token goes to one of the experts, weighted by its router."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.router = nn.Linear(WIDTH, count)
        self.experts = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(count))

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        x = x + attend(q, k, v, causal(tokens.shape[1]))
        weights, chosen = self.router(x).softmax(-1).max(-1)
        mixed = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            if (here := chosen == number).any():
                mixed = torch.where(here[..., None], expert(x) * weights[..., None], mixed)
        return self.out(x + mixed)


class Cache:
    """Keys and values that grow in place."""

    def __init__(self, rows: int, dtype: torch.dtype) -> None:
        self.keys = self.values = torch.zeros(rows, 0, WIDTH, dtype=dtype)

    def extend(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values = torch.cat([self.keys, keys], 1), torch.cat([self.values, values], 1)


class Cached(Framed):
    """Attention over a cache object that each call extends."""

    def initial_state(self, rows: int) -> Cache:
        return Cache(rows, self.out.weight.dtype)

    def forward(self, tokens: Tensor, cache: Cache) -> Any:
        x, q, k, v = self.parts(tokens)
        before = cache.keys.shape[1]
        cache.extend(k, v)
        return self.out(x + attend(q, cache.keys, cache.values, causal(tokens.shape[1], before))), cache


class Appended(Framed):
    """The same with a list."""

    def initial_state(self, rows: int) -> list[tuple[Tensor, Tensor]]:
        return []

    def forward(self, tokens: Tensor, cache: list[tuple[Tensor, Tensor]]) -> Any:
        x, q, k, v = self.parts(tokens)
        before = sum(keys.shape[1] for keys, _ in cache)
        cache.append((k, v))
        keys, values = (torch.cat(parts, 1) for parts in zip(*cache, strict=True))
        return self.out(x + attend(q, keys, values, causal(tokens.shape[1], before))), cache


class RingState(NamedTuple):
    """Fixed places that are written in turn, and how many tokens came."""

    keys: Tensor
    values: Tensor
    seen: int


class Ring(Framed):
    """A window of 24 in a ring cache, one token at a time: equal memories may be turned differently."""

    size = 24

    def initial_state(self, rows: int) -> RingState:
        zeros = torch.zeros(rows, self.size, WIDTH, dtype=self.out.weight.dtype)
        return RingState(zeros, zeros.clone(), 0)

    def forward(self, tokens: Tensor, state: RingState) -> Any:
        x, q, k, v = self.parts(tokens)
        keys, values, seen = state
        read = []
        for step in range(tokens.shape[1]):
            here = F.one_hot(torch.tensor(seen % self.size), self.size).bool()[None, :, None]
            keys, values = torch.where(here, k[:, step, None], keys), torch.where(here, v[:, step, None], values)
            seen += 1
            allowed = (torch.arange(self.size) < seen)[None]
            read.append(attend(q[:, step, None], keys, values, allowed))
        return self.out(x + torch.cat(read, 1)), RingState(keys, values, seen)


class Several(Attention):
    """The output, a hidden vector for each token, and a number."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        hidden = x + attend(q, k, v, causal(tokens.shape[1]))
        logits = self.out(hidden)
        if self.way == "tuple":
            return logits, hidden, hidden.square().mean()
        return {"hidden": hidden, "logits": logits}


@dataclass
class Output:
    """What a module returns beside its logits stays out of the way."""

    logits: Tensor
    note: str = "fine"
    extra: dict[str, int] = field(default_factory=dict)


class Named(Attention):
    def forward(self, tokens: Tensor) -> Any:
        return Output(super().forward(tokens))


class Lazy(nn.Module):
    """A layer that is made at the first call, or knows its width only then."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, WIDTH)
        self.hidden: nn.Module | None = nn.LazyLinear(WIDTH) if way == "torch" else None
        self.out = nn.Linear(WIDTH, VOCAB)

    def forward(self, tokens: Tensor) -> Any:
        x = self.embedding(tokens)
        if self.hidden is None:
            self.hidden = nn.Linear(WIDTH, WIDTH)
        return self.out(self.hidden(x.cumsum(1) / torch.arange(1, tokens.shape[1] + 1)[:, None]).tanh())


class Indexed(nn.Module):
    """No nn.Embedding: a matrix that is indexed, or one-hot vectors."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.table = nn.Parameter(torch.randn(VOCAB, WIDTH))
        self.mix = nn.GRU(WIDTH, WIDTH, batch_first=True)

    def forward(self, tokens: Tensor) -> Any:
        if self.way == "one-hot":
            x = F.one_hot(tokens, VOCAB).to(self.table.dtype) @ self.table
        else:
            x = self.table[tokens] if self.way == "index" else F.embedding(tokens, self.table)
        return self.mix(x)[0] @ self.table.T


class Vectors(nn.Module):
    """Takes vectors; dropout in training."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.inner = nn.LayerNorm(12), nn.Linear(12, 24)
        self.conv, self.drop, self.outer = nn.Conv1d(24, 24, 4), nn.Dropout(0.2), nn.Linear(24, 12)

    def forward(self, x: Tensor) -> Any:
        inner = F.pad(self.inner(self.norm(x)).transpose(1, 2), (3, 0))
        return x + self.outer(self.drop(F.silu(self.conv(inner)).transpose(1, 2)))


class Bare(nn.Module):
    """No parameter at all."""

    def forward(self, x: Tensor) -> Tensor:
        return x.cumsum(1) / torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None]


class Frozen(Attention):
    """The embedding and the mixer are frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding.requires_grad_(False)
        self.mix.requires_grad_(False)


class Closure(Attention):
    """Its activation is a function that refers to the module."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(WIDTH))
        self.activation: Callable[[Tensor], Tensor] = lambda x: (x * self.scale).tanh()

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        return self.out(self.activation(x + attend(q, k, v, causal(tokens.shape[1]))))


class Padded(Framed):
    """Attention with a padding mask on the left, positions counted from the first real token."""

    padding_side = "left"

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Embedding(512, WIDTH)
        self.max_length = 512

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Any:
        mask = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
        x = self.embedding(tokens) + self.positions((mask.cumsum(1) - 1).clamp_min(0))
        q, k, v = self.mix(x).chunk(3, -1)
        return {"logits": self.out(x + attend(q, k, v, causal(tokens.shape[1]) & mask[:, None]))}


class Reset(nn.Module):
    """Keeps its memory inside, and empties it when told how many rows follow."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.cell = nn.Embedding(VOCAB, WIDTH), nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.out = nn.Linear(WIDTH, VOCAB)
        self.memory: Tensor | None = None

    def reset(self, rows: int) -> None:
        self.memory = torch.zeros(1, rows, WIDTH, dtype=self.out.weight.dtype)

    def forward(self, tokens: Tensor) -> Any:
        output, self.memory = self.cell(self.embedding(tokens), self.memory)
        return self.out(output)


HEALTHY: dict[str, Callable[[], nn.Module]] = {
    "attention": Attention,
    "heads": Heads,
    "window": Window,
    "rotary": Rotary,
    "learned_48": lambda: Learned(48),
    "learned_700": lambda: Learned(700),
    "lstm": lambda: Recurrent("lstm"),
    "gru": lambda: Recurrent("gru"),
    "linear_attention": LinearAttention,
    "linear_attention_100": lambda: LinearAttention(100),
    "state_space": StateSpace,
    "shifted": Shifted,
    "experts_4": lambda: Experts(4),
    "experts_16": lambda: Experts(16),
    "cached": Cached,
    "appended": Appended,
    "ring": Ring,
    "tuple": lambda: Several("tuple"),
    "mapping": lambda: Several("mapping"),
    "named": Named,
    "lazy": lambda: Lazy("torch"),
    "made_late": lambda: Lazy("late"),
    "indexed": lambda: Indexed("index"),
    "one_hot": lambda: Indexed("one-hot"),
    "functional": lambda: Indexed("functional"),
    "vectors": Vectors,
    "bare": Bare,
    "frozen": Frozen,
    "closure": Closure,
    "padded": Padded,
    "reset": Reset,
    "bfloat16": lambda: LinearAttention().bfloat16(),
    "half_attention": lambda: Heads().bfloat16(),
    "double": lambda: Attention().double(),
}

__getattr__ = by_name(HEALTHY, {})
