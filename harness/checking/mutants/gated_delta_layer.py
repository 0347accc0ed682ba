"""The healthy host of defects of the gated delta rule: one layer with state, mask and gate readings."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from cortexzoo.zoo.ops import gated_delta

VOCAB, HEADS, HEAD_DIM = 32, 2, 8
FAST, SLOW = -4.0, 3.0
"""Biases of the decay: a head that forgets within a token (exponents reach −130 in a chunk), and one that keeps."""


class GatedDeltaLayer(nn.Module):
    """Embedding, x + gated delta memory of x, vocabulary. Offers all that a bare module can."""

    padding_side = "right"
    scales_linearly = True

    def __init__(self) -> None:
        super().__init__()
        width = HEADS * HEAD_DIM
        self.embedding = nn.Embedding(VOCAB, width)
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.decay, self.strength = nn.Linear(width, HEADS), nn.Linear(width, HEADS)
        with torch.no_grad():
            self.decay.bias.copy_(torch.tensor([FAST, SLOW]))
        self.output = nn.Linear(width, VOCAB)
        self._shares: dict[str, Tensor] = {}

    def initial_state(self, batch_size: int) -> Tensor:
        """An empty memory [B, H, K, V]."""
        return self.embedding.weight.new_zeros(batch_size, HEADS, HEAD_DIM, HEAD_DIM)

    def forward(self, tokens: Tensor, state: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits [B, T, V] and the memory; where `mask` is False a token neither decays the memory nor writes to it."""
        x = self.embedding(tokens)
        q, k = (F.normalize(part(x).unflatten(-1, (HEADS, -1)), dim=-1) for part in (self.query, self.key))
        v = self.value(x).unflatten(-1, (HEADS, -1))
        g, beta = F.logsigmoid(self.decay(x)), self.strength(x).sigmoid()
        if mask is not None:
            g, beta = g * mask[..., None], beta * mask[..., None]
        read, after = gated_delta.chunk_gated_delta_rule(q, k, v, g, beta, initial_state=state, output_final_state=True)
        assert after is not None
        with torch.no_grad():
            sizes = torch.stack([x.abs().mean(), read.abs().mean() * 4])
        self._shares = dict(zip(("current", "memory"), sizes / sizes.sum(), strict=True))
        logits: Tensor = self.output(x + read.flatten(2))
        return logits, after

    def gate_readings(self) -> dict[str, Tensor]:
        """What each source adds to the last call's output, as shares."""
        return self._shares


def make_layer() -> nn.Module:
    """The factory."""
    return GatedDeltaLayer()
