"""How a context memory enters: its distribution and the model's own, mixed by a learned share.

g = σ(MLP[h, a₀, max m, Σ m², longest match]);   p = (1 − g) · softmax(logits) + g · m
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from cortexzoo.zoo.memory.contexts.read_out import TINY, Found

FEATURES = 4


class Mixture(nn.Module):
    """The share of long-term memory in the prediction, and the prediction with it."""

    def __init__(self, hidden_size: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(hidden_size + FEATURES, width)
        self.output = nn.Linear(width, 1)

    def log_odds(self, hidden: Float[Tensor, "*asked hidden"], found: Found) -> Float[Tensor, "*asked"]:
        """Of the share: g = σ(log odds)."""
        squared = (found.weights * found.votes).sum(dim=-1)
        features = torch.stack([found.nothing, found.votes.amax(dim=-1), squared, found.longest], dim=-1)
        score: Tensor = self.output(self.hidden(torch.cat([hidden, features.to(hidden.dtype)], dim=-1)).relu())
        return score[..., 0]

    def forward(
        self, logits: Float[Tensor, "*asked vocab"], log_odds: Float[Tensor, "*asked"], found: Found
    ) -> Float[Tensor, "*asked vocab"]:
        """log p. Where nothing was found the model's own distribution stays.

        Only the places of found tokens differ from log(1 − g) + log softmax(logits), so nothing else of the
        vocabulary's size is made: of each token that was found the first finding adds what all of them add.
        """
        own = logits.log_softmax(dim=-1)
        some = (found.weights > 0).any(dim=-1)
        staying = torch.where(some, F.logsigmoid(-log_odds), 0.0)
        mixed = own + staying[..., None]
        adding = F.logsigmoid(log_odds)[..., None] + found.votes.clamp_min(TINY).log()
        gain = F.softplus(adding - mixed.gather(-1, found.following))
        counted = found.first & (found.votes > 0)
        return mixed.scatter_add(-1, found.following, torch.where(counted, gain, 0.0))
