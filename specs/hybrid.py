"""The hybrid family: sidecars with window attention and gated delta memory on a frozen base."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cortexzoo.specs.backbone import BackboneSpec, TrainedBackbone, require_chunk_fits
from cortexzoo.specs.base import NamedSpec, PositiveInt
from cortexzoo.specs.mixer import MixerSpec
from cortexzoo.specs.provenance import OURS
from cortexzoo.specs.slow_store import NoSlowStore, ProductStore, SlowStoreSpec


class HybridSpec(NamedSpec):
    """A frozen base that sees one chunk at a time, and sidecars on its layers whose memory crosses the chunks."""

    kind: Literal["variant"] = "variant"
    family: Literal["hybrid"] = "hybrid"
    backbone: Annotated[BackboneSpec, OURS] = TrainedBackbone.defaults()
    chunk_size: Annotated[PositiveInt, OURS] = Field(
        64, description="Tokens that the base sees at a time; chunks count from the document's start."
    )
    layers: Annotated[tuple[Annotated[int, Field(ge=0)], ...] | None, OURS] = Field(
        None, description="Which decoder layers carry a sidecar, from 0; null: all of them."
    )
    mixer: Annotated[MixerSpec, OURS] = MixerSpec.defaults()
    slow_store: Annotated[SlowStoreSpec, OURS] = Field(
        NoSlowStore(), description="What sleep with `kind: consolidate` moves the fast weights' facts into."
    )

    @property
    def vocab_size(self) -> int:
        """That of the base."""
        return self.backbone.architecture.vocab_size

    @property
    def sidecar_layers(self) -> tuple[int, ...]:
        """The layers that carry a sidecar, in order."""
        return tuple(range(self.backbone.architecture.num_layers)) if self.layers is None else self.layers

    def slow_store_of(self, layer: int) -> ProductStore | None:
        """The slow store beside the sidecar of a layer; None: it has none."""
        store = self.slow_store
        if isinstance(store, NoSlowStore):
            return None
        return store if layer == (self.sidecar_layers[0] if store.layer is None else store.layer) else None

    @model_validator(mode="after")
    def _slow_store_fits(self) -> Self:
        store = self.slow_store
        if isinstance(store, NoSlowStore):
            return self
        if store.layer is not None and store.layer not in self.sidecar_layers:
            raise ValueError(
                f"slow_store.layer must be one of the layers with a sidecar, {list(self.sidecar_layers)}, "
                f"got {store.layer}"
            )
        channels = self.mixer.num_heads * self.mixer.memory_key_dim
        most = store.distinct_products(channels)
        if store.features > most:
            raise ValueError(
                f"slow_store.features must be at most {most}, the number of products of {store.order} of the mixer's "
                f"{channels} key channels, got {store.features}"
            )
        return self

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        architecture = self.backbone.architecture
        require_chunk_fits(self.chunk_size, self.backbone)
        layers = self.sidecar_layers
        if not layers or list(layers) != sorted(set(layers)):
            raise ValueError(f"layers must name at least one layer, each once and in order, got {list(layers)}")
        if layers[-1] >= architecture.num_layers:
            raise ValueError(
                f"layers must be below backbone.architecture.num_layers = {architecture.num_layers}, got {layers[-1]}"
            )
        return self
