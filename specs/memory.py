"""Memories of the CortexGPT family: short-term ring, long-term FAISS store, and the gate that mixes them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cortexzoo.specs.base import Fraction, Neutral, PositiveFloat, PositiveInt, Spec
from cortexzoo.specs.provenance import CONTEXTS, OURS, PHASE_1, PROBE, PROTOTYPE, Source

TopK = Annotated[int, Field(gt=0, le=4096)]
"""Entries that each token reads."""


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
    top_k: Annotated[TopK, PROTOTYPE] = 5
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
    top_k: Annotated[TopK, PROTOTYPE] = 5
    capacity: Annotated[PositiveInt, OURS] = Field(1024, description="Entries; the oldest is dropped first.")
    writes: Annotated[PositiveInt, OURS] = Field(
        32, description="Pairs moved at one consolidation: those that were read most, by attention mass."
    )


PLACE, COUNT = 4, 8
"""Bytes of a token or of a place in a text, and of a count, as a diary keeps them."""
PLACES_A_LIST = 16
ROOM = Source("two texts of 300 steps each, docs/continual.md", "measured-here")
LARGEST_WEIGHT = 32
EXACT_IN_FLOAT32 = 2**24
OPEN_LENGTH = 1024


class Contexts(Spec):
    """A diary of the tokens read: keys are contexts, values what followed them, found through FAISS inverted lists.

    It enters by a learned mixture of what followed like contexts with the model's own distribution, not by the gate:
    its share of the prediction is its gate share.
    """

    kind: Literal["contexts"] = "contexts"
    capacity: Annotated[int, Field(ge=16, le=10_000_000), ROOM] = Field(
        786_432, description="Entries: one for each token read and one between documents. The oldest is dropped first."
    )
    context: Annotated[int, Field(gt=0, le=64), CONTEXTS] = Field(
        24, description="Tokens of a context that are compared."
    )
    top_k: Annotated[TopK, CONTEXTS] = Field(32, description="Contexts that are found and weighed.")
    list_tokens: Annotated[PositiveInt, CONTEXTS] = Field(
        4, description="Contexts whose last tokens, this many, are equal share an inverted list."
    )
    lists: Annotated[PositiveInt | None, OURS] = Field(
        None,
        description="Inverted lists; the last tokens' hash chooses one, so there is nothing to train. "
        "Null: one for every 16 places.",
    )
    code_size: Annotated[int, Field(gt=0, le=64), CONTEXTS] = 64
    decay: Annotated[float, Field(gt=0, le=1), CONTEXTS] = Field(
        0.85, description="Weight in the code of each token relative to the one after it."
    )
    own_span: Annotated[PositiveInt, OURS] = Field(
        128,
        description="In training, entries whose source lies within this many tokens of the query's are excluded: "
        "a place must not find itself.",
    )
    share_width: Annotated[PositiveInt, OURS] = Field(64, description="Hidden units of the network for the share.")
    own_weight: Annotated[float, Field(ge=0), CONTEXTS] = Field(
        1.0, description="Weight in training of the loss without this memory, so that the model also works without it."
    )

    @model_validator(mode="after")
    def _in_proportion(self) -> Self:
        if self.lists is not None and self.lists > self.capacity:
            raise ValueError(f"lists must be at most capacity = {self.capacity}, got {self.lists}: most would be empty")
        if self.list_tokens > self.context:
            raise ValueError(f"list_tokens must be at most context = {self.context}, got {self.list_tokens}")
        furthest = (2 * sum(self.weights)) ** 2 * self.code_size
        if furthest > EXACT_IN_FLOAT32:
            raise ValueError(
                f"code_size must be at most {EXACT_IN_FLOAT32 // (2 * sum(self.weights)) ** 2} with this context and "
                f"decay, got {self.code_size}: distances of codes would not be exact"
            )
        return self

    @property
    def weights(self) -> list[int]:
        """Of the tokens of a context in its code, the newest first."""
        return [max(1, round(LARGEST_WEIGHT * self.decay**age)) for age in range(self.context)]

    def most_bytes(self, rows: int) -> int:
        """Of the diary of a batch, however long a text gets: pages, log, and the documents that are open."""
        logged = -(-self.capacity // rows)
        return PLACE * (2 * self.capacity + rows * (self.open_length + 2 * logged + 1)) + COUNT

    @property
    def list_count(self) -> int:
        return self.lists or self.capacity // PLACES_A_LIST

    @property
    def open_length(self) -> int:
        """Tokens that a running document may have before it moves on into the log, but for its last `context`."""
        return min(OPEN_LENGTH, self.capacity) + self.context


LongTermSpec = Annotated[NoLongTerm | CompressedStore | RawRing | Contexts, Field(discriminator="kind")]


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
        fills_itself = isinstance(self.long_term, NoLongTerm | Contexts)
        if isinstance(self.short_term, NoShortTerm) and not fills_itself:
            raise ValueError(
                f"long_term must be `kind: none` without short-term memory, got `kind: {self.long_term.kind}`: "
                "this kind is filled from short-term memory only"
            )
        return self
