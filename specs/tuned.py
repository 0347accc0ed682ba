"""A base that is trained itself, by low-rank adapters or in all its weights: controls for sidecars on the same base."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cortexzoo.specs.backbone import (
    FolderBackbone,
    GGUFBackbone,
    HubBackbone,
    PackagedBackbone,
    TrainedBackbone,
    require_chunk_fits,
)
from cortexzoo.specs.base import NamedSpec, PositiveFloat, PositiveInt, Spec
from cortexzoo.specs.provenance import OURS, Source

Method = Literal["lora", "full"]
LORA = Source("Hu et al. 2021, arXiv:2106.09685", "paper")


class LowRankAdapters(Spec):
    """The base's weights W stay; each projection of its layers becomes W x + alpha / rank · B A x, with B = 0 at first.

    Source: Hu et al. 2021, arXiv:2106.09685, Section 4.1. Needs the package peft.
    """

    kind: Literal["lora"] = "lora"
    rank: Annotated[PositiveInt, LORA] = 8
    alpha: Annotated[PositiveFloat, OURS] = 16.0
    projections: Annotated[tuple[Annotated[str, Field(min_length=1)], ...] | None, OURS] = Field(
        None, description="Projections within the layers that get adapters, such as `[q_proj, v_proj]`; null: all."
    )


class AllWeights(Spec):
    """Every weight of the base is trained, and saved with the run."""

    kind: Literal["full"] = "full"


MethodSpec = Annotated[LowRankAdapters | AllWeights, Field(discriminator="kind")]
PretrainedBase = Annotated[
    TrainedBackbone | HubBackbone | FolderBackbone | GGUFBackbone | PackagedBackbone, Field(discriminator="kind")
]


class TunedSpec(NamedSpec):
    """A base without sidecars that is trained itself. It sees one chunk at a time, as under sidecars, and no memory."""

    kind: Literal["variant"] = "variant"
    family: Literal["tuned"] = "tuned"
    backbone: Annotated[PretrainedBase, OURS] = TrainedBackbone.defaults()
    chunk_size: Annotated[PositiveInt, OURS] = Field(
        64, description="Tokens that the base sees at a time; chunks count from the document's start."
    )
    method: Annotated[MethodSpec, OURS] = LowRankAdapters.defaults()

    @property
    def vocab_size(self) -> int:
        """That of the base."""
        return self.backbone.architecture.vocab_size

    @model_validator(mode="after")
    def _can_be_trained(self) -> Self:
        if isinstance(self.method, AllWeights) and getattr(self.backbone, "dtype", "") == "float16":
            raise ValueError(
                "backbone.dtype must be float32 or bfloat16 with `method: {kind: full}`, got float16: "
                "squared gradients are zero in it, and training ends in NaN"
            )
        return self

    @model_validator(mode="after")
    def _chunk_fits(self) -> Self:
        require_chunk_fits(self.chunk_size, self.backbone)
        return self
