"""What a sixth sample of 68 defects and 43 healthy modules had that was missed or accused in vain, with twins."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from tests.harness.subjects.factories import by_name
from tests.harness.subjects.healthy import VOCAB, WIDTH, Attention, attend, causal

SIZE, CODES = 600, 12


class Allocated(Attention):
    """A cache of a fixed size, and how much of it is filled."""

    max_length = SIZE

    def initial_state(self, rows: int) -> Any:
        return torch.zeros(2, rows, SIZE, WIDTH, dtype=self.out.weight.dtype), 0

    def written(self, bank: Tensor, keys: Tensor, start: int) -> Tensor:
        return torch.cat([bank[:, :, :start], keys, bank[:, :, start + keys.shape[2] :]], 2)

    def forward(self, tokens: Tensor, state: Any) -> Any:
        x, q, k, v = self.parts(tokens)
        bank, start = state
        bank, end = self.written(bank, torch.stack([k, v]), start), start + tokens.shape[1]
        keys, values = bank[:, :, :end]
        return self.out(x + attend(q, keys, values, causal(tokens.shape[1], start))), (bank, end)


class SharedCache(Allocated):
    """The cache is written where it lies: two continuations of one memory have the same keys."""

    def written(self, bank: Tensor, keys: Tensor, start: int) -> Tensor:
        if torch.is_grad_enabled():
            return super().written(bank, keys, start)
        bank[:, :, start : start + keys.shape[2]] = keys
        return bank


class Codes(nn.Module):
    """Codes that follow what they stand for, the slower the more often they were used; straight through."""

    counts_are_saved = True

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.inner, self.out = (
            nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, VOCAB)
        )  # fmt: skip
        self.register_buffer("codes", torch.randn(CODES, WIDTH))
        self.register_buffer("counts", torch.ones(CODES), persistent=self.counts_are_saved)

    @torch.no_grad()
    def follow(self, x: Tensor, nearest: Tensor) -> None:
        chosen = F.one_hot(nearest.flatten(), CODES).to(x.dtype)
        self.counts.add_(chosen.sum(0).to(self.counts.dtype))
        mean = chosen.mT @ x.flatten(0, 1) / chosen.sum(0).clamp(min=1)[:, None]
        rate = (chosen.sum(0) > 0) / self.counts.to(x.dtype)
        self.codes.lerp_(mean.to(self.codes.dtype), rate[:, None].to(self.codes.dtype))

    def forward(self, tokens: Tensor) -> Any:
        x = self.inner(self.embedding(tokens))
        nearest = torch.cdist(x.float(), self.codes.float().expand(len(x), -1, -1)).argmin(-1)
        code = self.codes.to(x.dtype)[nearest]
        if self.training:
            self.follow(x, nearest)
        return self.out(x + (code - x).detach())


class ForgottenCounts(Codes):
    """How often codes were used is not saved: loaded, they follow faster."""

    counts_are_saved = False


class Recomputed(nn.Module):
    """A block with dropout that keeps no activations and computes them anew for the gradient."""

    keeps_random_state = True

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.inner, self.out = (
            nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, VOCAB)
        )  # fmt: skip
        self.dropout = nn.Dropout(0.2)

    def block(self, x: Tensor) -> Tensor:
        return self.dropout(torch.tanh(self.inner(x)))

    def forward(self, tokens: Tensor) -> Any:
        x = self.embedding(tokens)
        y = checkpoint(self.block, x, use_reentrant=False, preserve_rng_state=self.keeps_random_state)
        return self.out(x + y)


class OtherDropout(Recomputed):
    """The second time it drops others."""

    keeps_random_state = False


class Normalised(nn.Module):
    """Several norms of an embedding that is zero for the padding: each multiplies its gradient by a thousand."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, WIDTH, padding_idx=0)
        self.inner = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(2))
        self.out = nn.Linear(WIDTH, VOCAB)

    def norm(self, x: Tensor) -> Tensor:
        wide = x.float()
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-6)).to(x.dtype)

    def forward(self, tokens: Tensor) -> Any:
        x = self.embedding(tokens)
        for layer in self.inner:
            x = x + layer(self.norm(x))
        return self.out(self.norm(x))


class UnboundedNorm(Normalised):
    """Without a summand below the root: no smaller loss makes the gradient of zero finite."""

    def norm(self, x: Tensor) -> Tensor:
        return torch.where(x == 0, 0, x / x.norm(dim=-1, keepdim=True))


class TwoAhead(nn.Module):
    """Beside the logits of the next token those of the one after it, from the next token as it is taught."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.cell = nn.Embedding(VOCAB, WIDTH), nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.both, self.out = nn.Linear(2 * WIDTH, WIDTH), nn.Linear(WIDTH, VOCAB)

    def further(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, 0, 1))[:, 1:]

    def first(self, read: Tensor, second: Tensor) -> Tensor:
        return read

    def forward(self, tokens: Tensor) -> Any:
        x = self.embedding(tokens)
        read, _ = self.cell(x)
        second = self.both(torch.cat([read, self.further(x)], -1))
        return {"logits": self.out(self.first(read, second)), "second": self.out(second)}


class FirstSeesSecond(TwoAhead):
    """What predicts the next token has seen it."""

    def first(self, read: Tensor, second: Tensor) -> Tensor:
        return read + 0.1 * second


class SecondSeesAll(TwoAhead):
    """The second output sees the mean of the text."""

    def further(self, x: Tensor) -> Tensor:
        return x.mean(1, keepdim=True).expand_as(x)


SIXTH: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "shared_cache": (SharedCache, "repeatability"),
    "forgotten_counts": (ForgottenCounts, "save_and_load"),
    "other_dropout": (OtherDropout, "every_parameter_learns"),
    "unbounded_norm": (UnboundedNorm, "finite_gradients"),
    "first_sees_second": (FirstSeesSecond, "causality"),
    "second_sees_all": (SecondSeesAll, "causality"),
}
"""With the property that is about each."""
UNTOUCHED: dict[str, Callable[[], nn.Module]] = {
    "allocated": Allocated,
    "codes": Codes,
    "recomputed": Recomputed,
    "normalised": Normalised,
    "two_ahead": TwoAhead,
}
"""Healthy."""

__getattr__ = by_name(UNTOUCHED, SIXTH)
