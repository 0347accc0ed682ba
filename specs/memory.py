"""Memories of the CortexGPT family: short-term ring, long-term FAISS store, and the gate that mixes them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cortexzoo.specs.base import Fraction, Neutral, PositiveFloat, PositiveInt, Spec
from cortexzoo.specs.provenance import OURS, PHASE_1, PROBE, PROTOTYPE


class RawReadOut(Spec):
    """The retrieved values are used unchanged."""

    kind: Literal["raw"] = "raw"


class ProjectedReadOut(Spec):
    """The retrieved values pass a LayerNorm, dropout and a linear map: `W_v · dropout(LN(A · V))`."""

    kind: Literal["projected"] = "projected"
    dropout: Annotated[Fraction, PHASE_1] = 0.1


ReadOutSpec = Annotated[RawReadOut | ProjectedReadOut, Field(discriminator="kind")]


class NoShortTerm(Spec):
    """No short-term memory, and therefore no consolidation."""

    kind: Literal["none"] = "none"


class ShortTermRing(Spec):
    """The last `capacity` stored (key, value) pairs, read by scaled softmax attention."""

    kind: Literal["ring"] = "ring"
    capacity: Annotated[PositiveInt, PROTOTYPE] = Field(128, description="Stored pairs; the oldest is dropped first.")
    num_heads: Annotated[PositiveInt, PROBE] = Field(
        8, description="Each head attends with its own slice of query, key and value, and its own recency."
    )
    scope: Annotated[Literal["per_sequence", "shared"], OURS] = Field(
        "per_sequence", description="`shared`: all rows of a batch write into and read from one ring."
    )
    carry_over: Annotated[bool, OURS] = Field(False, description="Keep the contents from one batch to the next.")
    stores: Annotated[Literal["output", "input"], PROBE] = Field(
        "input", description="The stored value: the input of the memory, or its gated output (then a scan is needed)."
    )
    stop_gradient: Annotated[Literal["contents", "retrieval", "none"], PHASE_1] = Field(
        "contents",
        description="What takes no gradient: the stored contents, the whole retrieval (then query and key "
        "projections never learn), or nothing (then the token loop runs, which is slow).",
    )
    recency: Annotated[Literal["none", "learned"], PROBE] = Field(
        "learned", description="`learned`: a head's attention scores fall by softplus(a) for each token of age."
    )
    read_out: Annotated[ReadOutSpec, PHASE_1] = ProjectedReadOut.defaults()


ShortTermSpec = Annotated[NoShortTerm | ShortTermRing, Field(discriminator="kind")]


class NoLongTerm(Spec):
    """No long-term memory."""

    kind: Literal["none"] = "none"


class CompressedStore(Spec):
    """The original's long-term memory: FAISS flat L2 over compressed keys, values from a consolidation network.

    Search distances carry no gradient, so compressor and consolidation network never learn.
    """

    kind: Literal["compressed_store"] = "compressed_store"
    code_size: Annotated[PositiveInt, PROTOTYPE] = 256
    top_k: Annotated[PositiveInt, PROTOTYPE] = 5
    min_reads: Annotated[PositiveInt, PROTOTYPE] = Field(
        3, description="A pair is consolidated once its read count reaches this; a fresh pair counts 1."
    )
    capacity: Annotated[PositiveInt | None, PROTOTYPE] = Field(None, description="Null: entries are never removed.")


class RawRing(Spec):
    """A bounded ring of raw (key, value) pairs, re-encoded by the current compressor at each consolidation.

    FAISS names the nearest entries only; their weights softmax(-d² · e^s) are computed again with gradient.
    """

    kind: Literal["raw_ring"] = "raw_ring"
    code_size: Annotated[PositiveInt, OURS] = 32
    top_k: Annotated[PositiveInt, PROTOTYPE] = 5
    capacity: Annotated[PositiveInt, OURS] = Field(1024, description="Entries; the oldest is dropped first.")
    writes: Annotated[PositiveInt, OURS] = Field(
        32, description="Pairs moved at one consolidation: those that were read most, by attention mass."
    )


LongTermSpec = Annotated[NoLongTerm | CompressedStore | RawRing, Field(discriminator="kind")]


class SoftmaxGate(Spec):
    """The original's gate: one softmax over (current, short-term, long-term), empty sources included."""

    kind: Literal["softmax"] = "softmax"


class SigmoidGate(Spec):
    """sigmoid(logits / temperature), normalised over the non-empty sources, with a floor for each."""

    kind: Literal["sigmoid"] = "sigmoid"
    temperature: Annotated[PositiveFloat, PHASE_1, Neutral(1.0)] = Field(
        1.0, description="Memory temperature: lower is sharper."
    )
    floor: Annotated[float, Field(ge=0, le=0.3), PROBE] = Field(
        0.06, description="Minimum share of a non-empty source."
    )


GateSpec = Annotated[SoftmaxGate | SigmoidGate, Field(discriminator="kind")]


class MemorySpec(Spec):
    """Short-term and long-term memory and the gate over (current, short-term, long-term)."""

    short_term: Annotated[ShortTermSpec, OURS] = ShortTermRing.defaults()
    long_term: Annotated[LongTermSpec, OURS] = RawRing.defaults()
    gate: Annotated[GateSpec, PHASE_1] = SigmoidGate.defaults()

    @model_validator(mode="after")
    def _something_to_consolidate(self) -> Self:
        if isinstance(self.short_term, NoShortTerm) and not isinstance(self.long_term, NoLongTerm):
            raise ValueError(
                f"long_term must be `kind: none` without short-term memory, got `kind: {self.long_term.kind}`: "
                "long-term memory is filled from short-term memory only"
            )
        return self
