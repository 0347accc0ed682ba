"""The short causal convolution before attention and memory, and what it carries from call to call."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from specs.mixer import MixerSpec


class ShortConv(nn.Module):
    """y_t = silu(sum_j w_j * x_(t-j)), one filter a channel, over queries, keys and values beside each other.

    At the start queries and values pass as they are, the keys of head h come `key_lags[h mod len]` tokens late, and
    every tap has a little noise.
    """

    def __init__(self, spec: MixerSpec) -> None:
        super().__init__()
        conv, inner = spec.conv, spec.num_heads * spec.head_dim
        taps = torch.randn(3 * inner, conv.kernel_size) * conv.noise
        taps[:inner, 0] += 1
        taps[2 * inner :, 0] += 1
        for head in range(spec.num_heads):
            lag = conv.key_lags[head % len(conv.key_lags)]
            taps[inner + head * spec.head_dim : inner + (head + 1) * spec.head_dim, lag] += 1
        self.taps = nn.Parameter(taps)  # [channels, lags]: lag 0 is the token itself

    def forward(
        self, x: Float[Tensor, "batch time channels"], carried: Float[Tensor, "batch lags channels"]
    ) -> tuple[Float[Tensor, "batch time channels"], Float[Tensor, "batch lags channels"]]:
        """Filtered x, and its last kernel_size - 1 tokens."""
        time, lags = x.shape[1], carried.shape[1]
        near, taps = torch.cat([carried.to(x.dtype), x], dim=1), self.taps.to(x.dtype)
        filtered = sum(
            (near[:, lags - lag : lags - lag + time] * taps[:, lag] for lag in range(1, lags + 1)),
            start=near[:, lags:] * taps[:, 0],
        )
        # A copy, so that the carried tokens do not keep the whole call alive.
        return F.silu(filtered), near[:, time:].clone()
