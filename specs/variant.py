"""Model variants: one tagged family each."""

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from cortexzoo.specs.backbone import BackboneSpec
from cortexzoo.specs.base import Fraction, LayerCount, NamedSpec, Neutral, PositiveFloat, PositiveInt, Spec
from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.specs.memory import MemorySpec, ShortTermRing
from cortexzoo.specs.own_variant import HuggingFaceSpec, ModuleSpec
from cortexzoo.specs.plugins import extended
from cortexzoo.specs.provenance import OURS, PHASE_1, PROBE, PROTOTYPE
from cortexzoo.specs.tuned import TunedSpec


class NoPosition(Spec):
    """Positions enter only through the memory."""

    kind: Literal["none"] = "none"


class DecayedSinusoid(Spec):
    """Sinusoidal positions multiplied by exp(-decay · t): gone after some fifty tokens at the prototype's decay."""

    kind: Literal["decayed_sinusoid"] = "decayed_sinusoid"
    decay: Annotated[PositiveFloat, PROTOTYPE] = 0.1


PositionSpec = Annotated[NoPosition | DecayedSinusoid, Field(discriminator="kind")]


class HardTopK(Spec):
    """Keep the highest-scoring fraction of all batch · time positions together; zeros elsewhere.

    Selecting over time and batch makes a logit depend on later tokens and on other rows.
    """

    kind: Literal["hard_top_k"] = "hard_top_k"
    over: Annotated[Literal["batch_and_time"], PROTOTYPE] = "batch_and_time"
    fraction: Annotated[float, Field(gt=0, le=1), PROTOTYPE] = 0.05


class SoftThreshold(Spec):
    """A soft mask for each token: sigmoid(sharpness · (sigmoid(score / temperature) - threshold))."""

    kind: Literal["soft_threshold"] = "soft_threshold"
    temperature: Annotated[PositiveFloat, OURS, Neutral(1.0)] = 0.5
    threshold: Annotated[Fraction, OURS] = 0.5
    sharpness: Annotated[PositiveFloat, PHASE_1, Neutral(1.0)] = 10.0


SparsitySpec = Annotated[HardTopK | SoftThreshold, Field(discriminator="kind")]


class ColumnsSpec(Spec):
    """Cortical columns: gated two-layer maps side by side, concatenated and mixed back by one linear map."""

    num_columns: Annotated[PositiveInt, PROTOTYPE] = 16
    sparsity: Annotated[SparsitySpec, PHASE_1] = SoftThreshold.defaults()


class Replace(Spec):
    """Each block's output replaces its input: no norm, no residual path."""

    kind: Literal["replace"] = "replace"


class Residual(Spec):
    """Each block reads a LayerNorm of the stream and adds its output; a final LayerNorm precedes the vocabulary."""

    kind: Literal["residual"] = "residual"
    memory_weight: Annotated[PositiveFloat, PROBE, Neutral(1.0)] = Field(
        1.0, description="Residual weight of the memory block."
    )


JoinSpec = Annotated[Replace | Residual, Field(discriminator="kind")]


class CortexGPTSpec(NamedSpec):
    """CortexGPT: columns and a gated memory of short-term ring and long-term store."""

    kind: Literal["variant"] = "variant"
    family: Literal["cortexgpt"] = "cortexgpt"
    vocab_size: Annotated[PositiveInt, OURS] = Field(256, description="Bytes.")
    hidden_size: Annotated[PositiveInt, OURS] = 128
    embedding_std: Annotated[PositiveFloat, PROTOTYPE] = Field(
        1.0, description="The default of torch. With recipe robust, 0.02 ended 0.04 nats lower: docs/results.md."
    )
    position: Annotated[PositionSpec, OURS] = NoPosition.defaults()
    order: Annotated[Literal["memory_first", "columns_first"], PROBE] = "memory_first"
    join: Annotated[JoinSpec, PHASE_1] = Residual.defaults()
    columns: Annotated[ColumnsSpec, PROTOTYPE] = ColumnsSpec.defaults()
    memory: Annotated[MemorySpec, OURS] = MemorySpec.defaults()

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.hidden_size % 4:
            raise ValueError(f"hidden_size must be a multiple of 4, got {self.hidden_size}")
        ring = self.memory.short_term
        if isinstance(ring, ShortTermRing) and self.hidden_size % ring.num_heads:
            raise ValueError(
                f"hidden_size must be a multiple of memory.short_term.num_heads = {ring.num_heads}, "
                f"got {self.hidden_size}"
            )
        return self


class TransformerSpec(NamedSpec):
    """The control: a pre-norm decoder-only transformer with rotary positions and full causal attention."""

    kind: Literal["variant"] = "variant"
    family: Literal["transformer"] = "transformer"
    vocab_size: Annotated[PositiveInt, OURS] = Field(256, description="Bytes.")
    hidden_size: Annotated[PositiveInt, OURS] = 128
    num_layers: Annotated[LayerCount, OURS] = 4
    num_heads: Annotated[PositiveInt, OURS] = 4
    intermediate_size: Annotated[PositiveInt, OURS] = 576
    rope_base: Annotated[PositiveFloat, OURS] = 10_000.0
    embedding_std: Annotated[PositiveFloat, OURS] = 0.02

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.hidden_size % (2 * self.num_heads):
            raise ValueError(
                f"hidden_size must be a multiple of 2 · num_heads = {2 * self.num_heads} (rotary pairs), "
                f"got {self.hidden_size}"
            )
        return self


VariantSpec = Annotated[
    CortexGPTSpec | HybridSpec | TransformerSpec | ModuleSpec | HuggingFaceSpec | TunedSpec,
    Field(discriminator="family"),
]
if not TYPE_CHECKING:
    VariantSpec = extended(VariantSpec, "variants")


def backbone_of(variant: VariantSpec) -> BackboneSpec | None:
    """The base that a variant is built on; None: it is built on none."""
    return variant.backbone if isinstance(variant, HybridSpec | TunedSpec) else None
