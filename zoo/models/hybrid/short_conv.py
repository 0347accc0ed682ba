"""The short causal convolution before attention and memory, and what it carries from call to call."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from cortexzoo.specs.mixer import MixerSpec


class ShortConv(nn.Module):
    """y_t = silu(sum_j w_j * x_(t-j)), one filter a channel, over queries, keys and values beside each other.

    At the start values pass as they are, keys come as many tokens late as their lag, queries one token less, and
    every tap has a little noise. Heads, or channels, take turns with `key_lags`.
    """

    def __init__(self, spec: MixerSpec) -> None:
        super().__init__()
        conv, inner = spec.conv, spec.num_heads * spec.head_dim
        weight = torch.randn(3 * inner, conv.kernel_size) * conv.noise
        weight[2 * inner :, 0] += 1
        run = spec.head_dim if conv.lags_over == "heads" else 1
        # All channels at once: a model that is only described, on the meta device, may have any number of them.
        channels = torch.arange(inner)
        lags = torch.tensor(conv.key_lags)[channels // run % len(conv.key_lags)]
        weight[inner + channels, lags] += 1
        weight[channels, (lags - 1).clamp_min(0)] += 1
        self.weight = nn.Parameter(weight)  # [channels, lags]: lag 0 is the token itself

    def forward(
        self, x: Float[Tensor, "batch time channels"], carried: Float[Tensor, "batch lags channels"]
    ) -> tuple[Float[Tensor, "batch time channels"], Float[Tensor, "batch lags channels"]]:
        """Filtered x, and its last kernel_size - 1 tokens."""
        time, lags = x.shape[1], carried.shape[1]
        near, weight = torch.cat([carried.to(x.dtype), x], dim=1), self.weight.to(x.dtype)
        filtered = sum(
            (near[:, lags - lag : lags - lag + time] * weight[:, lag] for lag in range(1, lags + 1)),
            start=near[:, lags:] * weight[:, 0],
        )
        # A copy, so that the carried tokens do not keep the whole call alive.
        return F.silu(filtered), near[:, time:].clone()
