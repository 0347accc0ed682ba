"""What a fifth sample of 58 defects had that no property caught at the first try, with healthy twins."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tests.harness.subjects.factories import by_name
from tests.harness.subjects.healthy import VOCAB, WIDTH, Attention, attend, causal

EVERY = 64
EXPERTS = 3


class Routed(Attention):
    """One expert of three takes each token, weighted by its probability."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(WIDTH, EXPERTS)
        self.experts = nn.ModuleList(nn.Linear(WIDTH, VOCAB) for _ in range(EXPERTS))

    def share(self, weight: Tensor) -> Tensor:
        return weight

    def forward(self, tokens: Tensor) -> Any:
        x = self.embedding(tokens)
        weight, chosen = self.router(x).softmax(-1).max(-1, keepdim=True)
        outputs = torch.stack([expert(x) for expert in self.experts], dim=-1)
        picked = outputs.gather(-1, chosen[..., None].expand(*outputs.shape[:-1], 1))[..., 0]
        return super().forward(tokens) + self.share(weight) * picked


class OneShare(Routed):
    """The weight of the one expert is divided by the sum of all chosen, which is itself: the router never learns."""

    def share(self, weight: Tensor) -> Tensor:
        return weight / weight.sum(-1, keepdim=True)


class KeysWithBias(nn.Module):
    """Softmax cancels the bias of keys, whose gradient is the rounding of zero, and rightly."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.out = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, VOCAB)
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, tokens: Tensor) -> Any:
        x = self.embedding(tokens)
        return self.out(x + attend(self.query(x), self.key(x), self.value(x), causal(tokens.shape[1])))


class Summaries(nn.Module):
    """The mean of what came before is added to every 64th token."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.out = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, VOCAB)

    def at_borders(self, x: Tensor, before: Tensor) -> Tensor:
        return x + before

    def forward(self, tokens: Tensor) -> Any:
        x, length = self.embedding(tokens), tokens.shape[1]
        count = torch.arange(1, length + 1)
        before = torch.cat([torch.zeros_like(x[:, :1]), (x.cumsum(1) / count[:, None])[:, :-1]], 1)
        border = (count % EVERY == 1) & (count > 1)
        return self.out(torch.where(border[:, None], self.at_borders(x, before), x))


class Overwritten(Summaries):
    """The mean takes the token's place."""

    def at_borders(self, x: Tensor, before: Tensor) -> Tensor:
        return before


class Fused(nn.Module):
    """Without gradients it multiplies its two matrices once, and again when one of them has changed."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, WIDTH)
        self.first, self.second = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, VOCAB, bias=False)
        self.made_from: Any = None
        self.product: Tensor | None = None

    def origin(self) -> Any:
        return [(weight.data_ptr(), weight._version) for weight in (self.first.weight, self.second.weight)]

    def forward(self, tokens: Tensor) -> Any:
        x = self.embedding(tokens)
        if torch.is_grad_enabled():
            return self.second(self.first(x))
        if self.product is None or self.product.dtype != x.dtype or self.made_from != self.origin():
            self.product, self.made_from = self.second.weight @ self.first.weight, self.origin()
        return x @ self.product.T


class StaleProduct(Fused):
    """It multiplies them again after it was trained only."""

    def origin(self) -> Any:
        return None

    def train(self, mode: bool = True) -> Any:
        self.product = None
        return super().train(mode)


FIFTH: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "one_share": (OneShare, "every_parameter_learns"),
    "overwritten": (Overwritten, "own_token_counts"),
    "stale_product": (StaleProduct, "save_and_load"),
}
"""With the property that is about each."""
UNHARMED: dict[str, Callable[[], nn.Module]] = {
    "routed": Routed,
    "keys_with_bias": KeysWithBias,
    "summaries": Summaries,
    "fused": Fused,
}
"""Healthy."""

__getattr__ = by_name(UNHARMED, FIFTH)
