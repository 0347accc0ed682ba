"""Gated linear attention as it is often written: decay differences, exp, then the causal mask.

    c_t = g_1 + … + g_t;   A_ij = exp(c_i − c_j) · q_i·k_j for i ≥ j, else 0;   o = A v

Above the diagonal the exponent is positive and grows with the distance: exp gives inf there, and the gradient of what
the mask then sets to 0 is 0 · inf. Padding up to whole chunks with decay 0, whose logarithm is cut off at log(1e-6),
makes it grow by 13.8 a pad.
"""

import torch
from torch import Tensor, nn

VOCAB, WIDTH, CHUNK = 64, 16, 128


class NaiveGatedAttention(nn.Module):
    """One head over the whole sequence."""

    def __init__(self, pads: bool, decay_bias: float) -> None:
        super().__init__()
        self.pads = pads
        self.embedding = nn.Embedding(VOCAB, WIDTH)
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        self.decay = nn.Linear(WIDTH, 1)
        nn.init.zeros_(self.decay.weight)
        nn.init.constant_(self.decay.bias, decay_bias)
        self.output = nn.Linear(WIDTH, VOCAB)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        length = x.shape[1]
        kept = self.decay(x)[..., 0].sigmoid()
        if self.pads:
            padding = -length % CHUNK
            x = nn.functional.pad(x, (0, 0, 0, padding))
            kept = nn.functional.pad(kept, (0, padding))
        c = kept.clamp_min(1e-6).log().cumsum(1)
        weights = (c[:, :, None] - c[:, None, :]).exp() * (self.query(x) @ self.key(x).mT)
        causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        mixed = weights.masked_fill(~causal, 0.0) @ self.value(x)
        return self.output(x + mixed)[:, :length]


def make_model() -> nn.Module:
    """With padding, and open gates: persistence 0.88."""
    return NaiveGatedAttention(pads=True, decay_bias=2.0)


def make_without_padding() -> nn.Module:
    """Half-open gates: each token adds log 2 to the largest exponent."""
    return NaiveGatedAttention(pads=False, decay_bias=0.0)
