"""What a context memory predicts: the found contexts weighed against each other, and the tokens that followed them.

    s_k = run[L_k] + Σ_j lag_j [u_(k,j) = q_j];   a = softmax(0, s);   m(y) = Σ_k a_k [next_k = y] / (1 − a₀)

L_k is how many tokens match without a gap, the newest first; the 0 stands for having found nothing.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cortexzoo.specs.memory import Contexts
from cortexzoo.zoo.memory.contexts.codes import CodeBook
from cortexzoo.zoo.memory.contexts.diary import CONTEXT_ONLY, Pages, cut_at_boundary
from cortexzoo.zoo.ops.lookup import looked_up

SPARE = 8
"""So many more are searched in training, in the place of those that are left out."""
FIRST_SCORE, SCORE_OF_A_TOKEN = -2.0, 0.5
"""Before training: of a context that matches in nothing, and what each matching token adds."""
TINY = 1e-30
EXACT_DIGITS = 24
"""Of a binary number in float32."""


@dataclass(frozen=True)
class Found:
    """What was found for every query."""

    following: Int[Tensor, "*asked found"]
    """The tokens that followed; 0 where nothing was found, with no weight."""
    weights: Float[Tensor, "*asked found"]
    """a_k / (1 − a₀): together 1, or 0 where nothing was found."""
    votes: Float[Tensor, "*asked found"]
    """m(next_k): the weight of all that were followed by the same token."""
    first: Bool[Tensor, "*asked found"]
    """Whether none before it was followed by the same token."""
    nothing: Float[Tensor, "*asked"]
    """a₀."""
    longest: Float[Tensor, "*asked"]
    """The longest match, as a share of the context."""


class ContextReadOut(nn.Module):
    """Searches the pages once for all queries and weighs what was found. Only the weighing takes gradients."""

    def __init__(self, spec: Contexts, vocab_size: int) -> None:
        super().__init__()
        self.spec, self.book = spec, CodeBook(spec, vocab_size)
        self.run = nn.Parameter(FIRST_SCORE + SCORE_OF_A_TOKEN * torch.arange(spec.context + 1.0))
        self.lag = nn.Parameter(torch.zeros(spec.context))

    def forward(
        self,
        contexts: Int[Tensor, "*asked context"],
        sources: Int[Tensor, "*asked"],
        pages: Pages,
    ) -> Found:
        """What follows contexts like these. The pages must have an entry.

        Entries whose source lies within `own_span` of the query's are left out: a place must not find itself.
        """
        queries = cut_at_boundary(contexts).flatten(0, -2)
        places = self._search(queries, sources.flatten(), pages)
        there = places >= 0
        matches = pages.matching(places.clamp_min(0), queries)
        run = leading(matches)
        # On a card by a plain sum: with this product and an embedding's gradient trainings were not bit-equal there.
        by_lag = (matches * self.lag).sum(dim=-1) if matches.is_cuda else matches.to(self.lag.dtype) @ self.lag
        scores = looked_up(self.run, run) + by_lag
        scores = scores.masked_fill(~there, -torch.inf)
        shares = torch.cat([torch.zeros_like(scores[:, :1]), scores], dim=1).softmax(dim=1)
        nothing, each = shares[:, 0], shares[:, 1:]
        weights = each / each.sum(dim=1, keepdim=True).clamp_min(TINY)
        following = pages.tokens[(places + 1).clamp_max(pages.filled - 1)] * there
        same, exact = weights.new_empty(*following.shape, following.shape[1]), following.float()
        torch.eq(exact[:, :, None], exact[:, None, :], out=same)
        votes = (same * weights[:, None, :]).sum(dim=-1)
        first = (same * torch.ones_like(same[0]).tril(-1)).sum(dim=-1) == 0
        longest = run.amax(dim=1).to(weights.dtype) / self.spec.context
        shape = contexts.shape[:-1]
        return Found(
            following.long().unflatten(0, shape),
            weights.unflatten(0, shape),
            votes.unflatten(0, shape),
            first.unflatten(0, shape),
            nothing.unflatten(0, shape),
            (longest * there.any(dim=1)).unflatten(0, shape),
        )

    @torch.no_grad()
    def _search(self, queries: Tensor, sources: Tensor, pages: Pages) -> Int[Tensor, "asked found"]:
        """Places of the nearest entries that may be seen, nearest first; −1 where there are fewer.

        On the meta device, which has shapes alone, nothing is searched: what a list costs depends on the text.
        """
        if queries.is_meta:
            return queries.new_zeros(len(queries), self.spec.top_k)
        known = bool((sources >= 0).any())
        k = self.spec.top_k + (SPARE if known else 0)
        places = pages.index(self.book).search(*self.book.of_contexts(queries), k)
        if not known:
            return places
        hidden = self._own(pages.sources[places.clamp_min(0)], sources[:, None]) & (places >= 0)
        if not hidden.any():
            return places[:, : self.spec.top_k]
        # Those that stay move up, in their order.
        order = hidden.to(torch.uint8).argsort(dim=1, stable=True)[:, : self.spec.top_k]
        return torch.where(hidden, -1, places).gather(1, order)

    def _own(self, found: Tensor, asked: Tensor) -> Bool[Tensor, "asked found"]:
        return (asked >= 0) & (found > CONTEXT_ONLY) & (found >= 0) & ((found - asked).abs() <= self.spec.own_span)


def leading(matches: Float[Tensor, "*asked length"]) -> Int[Tensor, "*asked"]:
    """How many are 1 before the first that is 0: `matches.cumprod(-1).sum(-1)`, without products as long.

    As digits of a binary number, the newest first, of which float32 represents 24 exactly: the highest digit of what
    lacks to ones throughout tells where the first 0 is.
    """
    run = matches.new_zeros(matches.shape[:-1], dtype=torch.long)
    unbroken: Tensor | bool = True
    for digits in matches.split(EXACT_DIGITS, dim=-1):
        length = digits.shape[-1]
        values = 2.0 ** torch.arange(length - 1, -1, -1, device=matches.device, dtype=matches.dtype)
        here = length - torch.frexp(2.0**length - 1 - digits @ values).exponent
        run = run + here * unbroken
        unbroken = unbroken * (here == length)
    return run
