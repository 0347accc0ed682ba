"""How several processes share one training run."""

from typing import Annotated, Literal

from pydantic import Field

from cortexzoo.specs.base import Spec


class OneProcess(Spec):
    """One process; to start more is a mistake."""

    kind: Literal["none"] = "none"


class DataParallel(Spec):
    """Every process has all weights and an equal share of each batch; gradients are averaged."""

    kind: Literal["ddp"] = "ddp"


class FullySharded(Spec):
    """Every process has a share of weights, gradients and moments, and of each batch: torch's `fully_shard`."""

    kind: Literal["fsdp2"] = "fsdp2"


ParallelSpec = Annotated[OneProcess | DataParallel | FullySharded, Field(discriminator="kind")]
