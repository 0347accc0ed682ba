"""The hybrid family: sidecars with window attention and gated delta memory on a frozen base."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cortexzoo.specs.backbone import BackboneSpec, TrainedBackbone
from cortexzoo.specs.base import NamedSpec, PositiveInt
from cortexzoo.specs.mixer import MixerSpec
from cortexzoo.specs.provenance import OURS


class HybridSpec(NamedSpec):
    """A frozen base that sees one chunk at a time, and sidecars on its layers whose memory crosses the chunks."""

    kind: Literal["variant"] = "variant"
    family: Literal["hybrid"] = "hybrid"
    backbone: Annotated[BackboneSpec, OURS] = TrainedBackbone()
    chunk_size: Annotated[PositiveInt, OURS] = Field(
        64, description="Tokens that the base sees at a time; chunks count from the document's start."
    )
    layers: Annotated[tuple[Annotated[int, Field(ge=0)], ...] | None, OURS] = Field(
        None, description="Which decoder layers carry a sidecar, from 0; null: all of them."
    )
    mixer: Annotated[MixerSpec, OURS] = MixerSpec()

    @property
    def vocab_size(self) -> int:
        """That of the base."""
        return self.backbone.architecture.vocab_size

    @property
    def sidecar_layers(self) -> tuple[int, ...]:
        """The layers that carry a sidecar, in order."""
        return tuple(range(self.backbone.architecture.num_layers)) if self.layers is None else self.layers

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        architecture = self.backbone.architecture
        if self.chunk_size > architecture.max_positions:
            raise ValueError(
                f"chunk_size must be at most backbone.architecture.max_positions = {architecture.max_positions}, "
                f"got {self.chunk_size}"
            )
        layers = self.sidecar_layers
        if not layers or list(layers) != sorted(set(layers)):
            raise ValueError(f"layers must name at least one layer, each once and in order, got {list(layers)}")
        if layers[-1] >= architecture.num_layers:
            raise ValueError(
                f"layers must be below backbone.architecture.num_layers = {architecture.num_layers}, got {layers[-1]}"
            )
        return self
