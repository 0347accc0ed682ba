"""The weights of one hybrid in another."""

import torch

from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.specs.slow_store import ProductStore
from cortexzoo.zoo.models.hybrid.model import Hybrid


def with_slow_store(model: Hybrid, slow_store: ProductStore) -> Hybrid:
    """The same base and copies of the same sidecars, with an empty slow store beside one of them.

    Raises pydantic's `ValidationError` for a store that does not suit the sidecars.
    """
    spec = HybridSpec.model_validate({**dict(model.spec), "slow_store": slow_store})
    grown = Hybrid(spec, model.base).to(model.sidecar(spec.sidecar_layers[0]).output.weight)
    with torch.no_grad():
        own = dict(grown.named_parameters())
        for name, parameter in model.named_parameters():
            own[name].copy_(parameter)
    return grown.train(model.training)
