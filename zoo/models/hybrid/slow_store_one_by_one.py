"""A sleep of the slow store pair by pair, written out: the oracle of `SlowStore.absorb`."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cortexzoo.zoo.models.hybrid.slow_store import Pairs, SlowStore


class Sums(NamedTuple):
    """A store after a sleep."""

    curvature: Float[Tensor, "features features"]
    targets: Float[Tensor, "features outputs"]
    weights: Float[Tensor, "features outputs"]


@torch.no_grad()
def absorb_one_by_one(store: SlowStore, pairs: Pairs, ridge: float, same_key: float) -> Sums:
    """What `store.absorb` leaves behind; the store itself stays as it is."""
    identity = torch.eye(len(store.curvature), dtype=store.curvature.dtype)
    inverse = torch.linalg.inv(store.curvature + ridge * identity)
    curvature, targets = store.curvature.clone(), store.targets.clone()
    keys = list(store.features(pairs.keys))
    for place, (phi, value) in enumerate(zip(keys, pairs.values, strict=True)):
        if any(float(phi @ later) >= same_key for later in keys[place + 1 :]):
            continue
        outside = ridge * inverse @ phi
        within = phi - outside
        if store.pairs > 0 and outside @ outside < store.threshold:
            missing = value - store.weights.T @ phi
            targets += torch.outer(within, missing) / (within @ inverse @ within)
        targets += torch.outer(phi, value)
        curvature += torch.outer(phi, phi)
    return Sums(curvature, targets, torch.linalg.solve(curvature + ridge * identity, targets))
