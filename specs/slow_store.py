"""A hybrid's slow store: weights beside the fast weights of one sidecar, which only sleep changes."""

from math import comb
from typing import Annotated, Literal

from pydantic import Field

from cortexzoo.specs.base import PositiveFloat, PositiveInt, Spec
from cortexzoo.specs.provenance import OURS, Source

CONSOLIDATION = Source("runs on consolidating the kv task of words, docs/sleep.md", "measured-here")
MOST_FEATURES = 16_384
"""Its curvature then has 1 GiB."""


class NoSlowStore(Spec):
    """Fast weights are the only memory: what is wiped is gone."""

    kind: Literal["none"] = "none"


class ProductStore(Spec):
    """Slow weights over fixed products of the channels of a query, whose answer joins that of the fast weights."""

    kind: Literal["products"] = "products"
    features: Annotated[int, Field(gt=0, le=MOST_FEATURES), CONSOLIDATION] = Field(
        4096, description="Number of products; the store keeps its curvature, features² numbers."
    )
    order: Annotated[int, Field(ge=2, le=4), CONSOLIDATION] = Field(2, description="Channels of one product.")
    layer: Annotated[Annotated[int, Field(ge=0)] | None, CONSOLIDATION] = Field(
        None, description="The decoder layer whose sidecar has the store; null: the first sidecar."
    )
    seed: Annotated[PositiveInt, OURS] = Field(1, description="Which products are drawn.")
    unknown_from: Annotated[PositiveFloat, CONSOLIDATION] = Field(
        0.15, description="A key is unknown from this novelty on, relative to that of a key left out of the store."
    )
    probes: Annotated[PositiveInt, CONSOLIDATION] = Field(
        64, description="Random directions that estimate novelty, with a relative error of √(2 / probes)."
    )
    gain: Annotated[PositiveFloat, CONSOLIDATION] = Field(
        0.7, description="How strongly a stored value joins the fast weights' answer, which has about 0.6 of a value."
    )

    def distinct_products(self, channels: int) -> int:
        """How many products of `order` channels, repeats allowed, so many channels have."""
        return comb(channels + self.order - 1, self.order)


SlowStoreSpec = Annotated[NoSlowStore | ProductStore, Field(discriminator="kind")]
