"""The slow store of a sidecar: weights over fixed features of a query, filled in sleep by a linear solve."""

from dataclasses import dataclass
from itertools import combinations_with_replacement

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cortexzoo.specs.slow_store import ProductStore
from cortexzoo.zoo.models.hybrid.unit import unit

FEATURE_EPS = 1e-12
"""Products of channels are far smaller than channels."""
PROBE_STREAM = 1
"""Keeps the probes apart from the products, which are drawn from the same seed."""
LEFT_OUT = 64
"""At most so many pairs of a sleep, evenly spread, are left out in turn: how novel is a key that is not stored?"""


@dataclass(frozen=True)
class Pairs:
    """What one sleep moves: for each key, as a query of the memory, the value stored under it."""

    keys: Float[Tensor, "pairs channels"]
    values: Float[Tensor, "pairs outputs"]


class SlowStore(nn.Module):
    """answer(q) = W^T phi(q) * [novelty(q) < unknown_from * usual]

    phi(q) are products of `order` channels of q, of all heads beside each other, scaled to unit length.

        C = sum phi phi^T,   B = sum phi v^T,   A = C + ridge I,   W = A^-1 B,   novelty(q) = |ridge A^-1 phi(q)|^2

    Novelty is about the share of phi that lies outside of the span of all consolidated keys: near 0 for one of them,
    up to 1 for any other. `probes` random directions G estimate it as |K^T phi|^2, K = ridge A^-1 G. `usual` says how
    far outside a key is that the store does not have, less the fuller the store: the median of ridge phi^T A^-1 phi
    over the last sleep's keys, each left out of A, which is at least the novelty. C and B are sums over all sleeps, so
    that no sleep forgets an earlier one. Forward calls change nothing; the buffers are saved with the model.
    """

    curvature: Float[Tensor, "features features"]
    targets: Float[Tensor, "features outputs"]
    weights: Float[Tensor, "features outputs"]
    novelty_weights: Float[Tensor, "features probes"]
    usual: Float[Tensor, ""]
    pairs: Int[Tensor, ""]
    """Moved so far; 0: the store is empty and adds nothing."""
    channels: Int[Tensor, "order features"]

    def __init__(self, spec: ProductStore, channels: int, outputs: int) -> None:
        """`channels` of a query, `outputs` of a value, all heads beside each other."""
        super().__init__()
        self.spec = spec
        size = spec.features
        self.register_buffer("curvature", torch.zeros(size, size))
        self.register_buffer("targets", torch.zeros(size, outputs))
        self.register_buffer("weights", torch.zeros(size, outputs))
        self.register_buffer("novelty_weights", torch.zeros(size, spec.probes))
        self.register_buffer("usual", torch.ones(()))
        self.register_buffer("pairs", torch.zeros((), dtype=torch.int64))
        self.register_buffer("channels", _draw(spec, channels), persistent=False)

    def features(self, q: Float[Tensor, "*batch channels"]) -> Float[Tensor, "*batch features"]:
        """phi(q)."""
        product = q[..., self.channels[0]]
        for further in self.channels[1:]:
            product = product * q[..., further]
        return unit(product, FEATURE_EPS)

    def forward(self, q: Float[Tensor, "batch time heads key_dim"]) -> Float[Tensor, "batch time outputs"]:
        """The values stored under q; zero where q is unknown."""
        if self.pairs.is_meta or not self.pairs:
            return q.new_zeros(*q.shape[:2], self.weights.shape[1])
        answer, novelty = self.answer(q.flatten(2))
        return answer * (novelty < self.threshold).unsqueeze(-1)

    @property
    def threshold(self) -> Float[Tensor, ""]:
        """The novelty from which on a key is unknown."""
        return self.spec.unknown_from * self.usual

    def answer(
        self, q: Float[Tensor, "*batch channels"]
    ) -> tuple[Float[Tensor, "*batch outputs"], Float[Tensor, "*batch"]]:
        """What is stored under q, known or not; and the novelty of q."""
        phi = self.features(q)
        return phi @ self.weights.to(q.dtype), (phi @ self.novelty_weights.to(q.dtype)).square().sum(-1)

    @torch.no_grad()
    def absorb(self, pairs: Pairs, ridge: float, same_key: float, keep_curvature: bool = True) -> int:
        """Fold in what a sleep moves, and solve. Returns how many keys were new.

        Every pair adds phi phi^T to C and phi v^T to B. Where the key is known, its old value is taken out besides:
        with p = phi - ridge A^-1 phi, the part of phi within what was consolidated, and A, W from before the sleep,

            B += p (v - W^T phi)^T / (p^T A^-1 p)

        Of equal keys in one sleep the last counts.
        """
        if not len(pairs.keys):
            return 0
        if not keep_curvature:
            self.targets.copy_(ridge * self.weights)
            self.curvature.zero_()
        phi = self.features(pairs.keys)
        kept = last_of_each(phi, same_key)
        phi, values = phi[kept].double(), pairs.values[kept].double()
        added, known = phi.T @ values, torch.zeros(len(phi), dtype=torch.bool, device=phi.device)
        if self.curvature.any():
            factor = self._factor(ridge)
            outside = ridge * torch.cholesky_solve(phi.T, factor).T
            known = outside.square().sum(-1) < self.threshold
            if known.any():
                added += self._taken_out(phi[known], phi[known] - outside[known], values[known], factor)
        self.curvature += (phi.T @ phi).to(self.curvature.dtype)
        self.targets += added.to(self.targets.dtype)
        factor = self._factor(ridge)
        self._solve(ridge, factor)
        self._leave_out(phi[:: -(-len(phi) // LEFT_OUT)], ridge, factor)
        self.pairs.add_(len(phi))
        return int((~known).sum())

    def _taken_out(self, phi: Tensor, within: Tensor, values: Tensor, factor: Tensor) -> Tensor:
        """What turns the values stored under known keys into the new ones: added to B."""
        counted = (within * torch.cholesky_solve(within.T, factor).T).sum(-1, keepdim=True)
        taken_out: Tensor = within.T @ ((values - phi @ self.weights.double()) / counted)
        return taken_out

    def _factor(self, ridge: float) -> Tensor:
        """The Cholesky factor of A, in float64."""
        matrix = self.curvature.to(torch.float64, copy=True)
        matrix.diagonal().add_(ridge)
        factor: Tensor = torch.linalg.cholesky(matrix)
        return factor

    def _leave_out(self, phi: Tensor, ridge: float, factor: Tensor) -> None:
        """With h = phi^T A^-1 phi, a key that is counted once has ridge h / (1 - h) for it without itself."""
        counted = torch.linalg.solve_triangular(factor, phi.T, upper=False).square().sum(0)
        self.usual.copy_((ridge * counted / (1 - counted).clamp_min(ridge)).clamp(max=1).median())

    def _solve(self, ridge: float, factor: Tensor) -> None:
        random = torch.Generator().manual_seed(self.spec.seed + PROBE_STREAM)
        probes = torch.randn(self.spec.features, self.spec.probes, generator=random, dtype=torch.float64)
        probes = probes.to(self.targets.device) * ridge / self.spec.probes**0.5
        both = torch.cholesky_solve(torch.cat([self.targets.double(), probes], dim=1), factor)
        self.weights.copy_(both[:, : -self.spec.probes])
        self.novelty_weights.copy_(both[:, -self.spec.probes :])


def last_of_each(phi: Float[Tensor, "pairs features"], same_key: float) -> Bool[Tensor, " pairs"]:
    """Which pairs no later one replaces: two keys are equal from a cosine of `same_key` on."""
    return ~((phi @ phi.T).triu(1) >= same_key).any(1)


def _draw(spec: ProductStore, channels: int) -> Int[Tensor, "order features"]:
    """Different products, as numbers of channels, drawn from the spec's seed alone."""
    with torch.device("cpu"):
        random = torch.Generator().manual_seed(spec.seed)
        every = spec.distinct_products(channels)
        if every <= 4 * spec.features:
            products = torch.tensor(list(combinations_with_replacement(range(channels), spec.order)))
        else:
            products = torch.zeros(0, spec.order, dtype=torch.int64)
            while len(products) < spec.features:
                more = torch.randint(channels, (2 * spec.features, spec.order), generator=random).sort(1).values
                products = torch.cat([products, more]).unique(dim=0)
        chosen = products[torch.randperm(len(products), generator=random)[: spec.features]]
        return chosen.T.contiguous()
