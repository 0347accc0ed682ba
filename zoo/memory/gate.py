"""The gate over the three sources of the memory block: current vector, short-term read-out, long-term read-out."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cortexzoo.specs.memory import GateSpec, SigmoidGate

SOURCES = ("current", "short_term", "long_term")


class MemoryGate(nn.Module):
    """Shares of the sources, from one linear map over all of them.

    softmax kind: softmax(W[x, r, l] + b) over all three, empty sources included.
    sigmoid kind: s = sigmoid((W[x, r, l] + b) / temperature), zero where a source is empty, normalised, then
    floor + (1 - floor · live sources) · s, so that every live source keeps at least `floor`.
    """

    def __init__(self, spec: GateSpec, hidden_size: int, sources: int = len(SOURCES)) -> None:
        """`sources`: how many of `SOURCES` enter here, from the first."""
        super().__init__()
        self.spec = spec
        self.sources = sources
        self.linear = nn.Linear(sources * hidden_size, sources)

    def shares(
        self, logits: Float[Tensor, "*groups asked sources"], live: Bool[Tensor, "asked sources"]
    ) -> Float[Tensor, "*groups asked sources"]:
        """Non-negative shares that sum to 1. `live` marks the sources that are not empty; `current` never is."""
        if not isinstance(self.spec, SigmoidGate):
            return logits.softmax(dim=-1)
        # sigmoid(z) / Σ sigmoid(z) as a softmax of log sigmoids: finite also where every sigmoid underflows
        opened = nn.functional.logsigmoid(logits / self.spec.temperature).masked_fill(~live, -torch.inf)
        normalised = opened.softmax(dim=-1)
        floor = self.spec.floor * live.to(logits.dtype)
        return floor + (1 - floor.sum(dim=-1, keepdim=True)) * normalised

    def partial_logits(
        self, current: Float[Tensor, "*batch hidden"], long_term: Float[Tensor, "*batch hidden"] | None
    ) -> Float[Tensor, "*batch sources"]:
        """The part of the logits that the short-term read-out does not enter."""
        weights = self.linear.weight.chunk(self.sources, dim=1)
        logits = nn.functional.linear(current, weights[0], self.linear.bias)
        return logits if long_term is None else logits + nn.functional.linear(long_term, weights[2])

    def short_term_logits(self, short_term: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch sources"]:
        """The part of the logits that comes from the short-term read-out."""
        return nn.functional.linear(short_term, self.linear.weight.chunk(self.sources, dim=1)[1])
