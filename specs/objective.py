"""Training objectives: the next token of a text, or answers about facts many chunks before."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cortexzoo.specs.base import PositiveFloat, PositiveInt, Spec
from cortexzoo.specs.data import PydocTopics, TextSource
from cortexzoo.specs.plasticity import NoProtection, ProtectionSpec
from cortexzoo.specs.provenance import CONTINUAL, OURS, RECALL, USER_RUN


class NextToken(Spec):
    """Predict every token of a text from those before it; batches are windows of `recipe.sequence_length`."""

    kind: Literal["next_token"] = "next_token"


class Stage(Spec):
    """A part of the curriculum: documents with one of these gaps, each gap equally often, in a seeded order.

    A stage ends once every gap had `samples_per_gap` documents, or sooner by `promote_at`; the last one lasts until
    the recipe's steps are over. One stage with all gaps is a mixed curriculum, several are a staged one.
    """

    gaps: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1), RECALL]
    tokens_per_step: Annotated[PositiveInt, RECALL] = Field(
        2048,
        description="A micro-batch has as many documents as fit, between 1 and recipe.batch_size.",
    )
    samples_per_gap: Annotated[PositiveInt, USER_RUN] = Field(512, description="Documents of each gap: an epoch.")
    promote_at: Annotated[float | None, Field(gt=0, le=1), OURS] = Field(
        None,
        description="The next stage starts at this share of right answer tokens over the last steps of each gap; "
        "null: only after samples_per_gap.",
    )

    @model_validator(mode="after")
    def _each_gap_once(self) -> Self:
        if len(set(self.gaps)) < len(self.gaps):
            raise ValueError(f"gaps must be distinct, got {list(self.gaps)}")
        return self


class NoInChunkGuard(Spec):
    """No guard for the abilities of the base within a chunk."""

    kind: Literal["none"] = "none"


class InChunkSamples(Spec):
    """Documents with gap 0 in every step, so that recall within a chunk is not unlearned."""

    kind: Literal["samples"] = "samples"
    weight: Annotated[PositiveFloat, OURS] = 0.25
    documents: Annotated[PositiveInt, OURS] = 4


class InChunkDivergence(Spec):
    """Text in every step, and a penalty on the divergence from the frozen base."""

    kind: Literal["kl"] = "kl"
    weight: Annotated[PositiveFloat, OURS] = 0.1
    sequences: Annotated[PositiveInt, OURS] = Field(4, description="Windows of recipe.sequence_length tokens.")


InChunkSpec = Annotated[NoInChunkGuard | InChunkSamples | InChunkDivergence, Field(discriminator="kind")]


class DriftSpec(Spec):
    """The effect of the sidecars on plain text: perplexity beside that of the base, and the divergence from it."""

    source: Annotated[TextSource, OURS] = PydocTopics.defaults()
    sequences: Annotated[PositiveInt, OURS] = Field(32, description="Windows of recipe.sequence_length tokens.")


class Recall(Spec):
    """Chunked training on a memory task: only answers count, and gradients flow through the memory carried over."""

    kind: Literal["recall"] = "recall"
    stages: Annotated[tuple[Stage, ...], Field(min_length=1), RECALL]
    bptt_chunks: Annotated[PositiveInt | None, RECALL] = Field(
        None,
        description="Number of chunks through whose state gradients flow; null: all. "
        "With 1, no gradient reaches the writes of earlier chunks.",
    )
    recompute_activations: Annotated[bool, OURS] = Field(
        False, description="Keep only the state between pieces of a document, and compute activations twice."
    )
    in_chunk: Annotated[InChunkSpec, RECALL] = NoInChunkGuard.defaults()
    drift: Annotated[DriftSpec, OURS] = DriftSpec.defaults()


class NoReplay(Spec):
    """The earlier text is not read again."""

    kind: Literal["none"] = "none"


class ReservoirReplay(Spec):
    """Some rows of every batch are windows of the earlier text, out of a uniform sample of those trained on.

    On these rows the predictions are kept near those of the model from before the later text.
    """

    kind: Literal["reservoir"] = "reservoir"
    rows: Annotated[PositiveInt, CONTINUAL] = Field(1, description="Of each batch, instead of the later text.")
    windows: Annotated[PositiveInt, CONTINUAL] = Field(1024, description="Windows in the sample.")
    kl_weight: Annotated[float, Field(ge=0), CONTINUAL] = Field(
        0.25, description="Of KL(before ‖ now) on the replayed rows, in the loss of the batch; 0: replay alone."
    )


class GeneratedReplay(Spec):
    """As `reservoir`, but the windows are sampled from the model when it goes over: no window of the text is kept.

    A long-term memory that the model has is part of it, and continues to be read.
    """

    kind: Literal["generated"] = "generated"
    rows: Annotated[PositiveInt, CONTINUAL] = Field(1, description="Of each batch, instead of the later text.")
    windows: Annotated[PositiveInt, OURS] = Field(256, description="Windows that are sampled.")
    temperature: Annotated[PositiveFloat, OURS] = 1.0
    discarded: Annotated[PositiveInt, OURS] = Field(
        32, description="Tokens at the start of each sample that are dropped; the first is random."
    )
    kl_weight: Annotated[float, Field(ge=0), CONTINUAL] = Field(
        0.25, description="Of KL(before ‖ now) on the replayed rows, in the loss of the batch; 0: replay alone."
    )


ReplaySpec = Annotated[NoReplay | ReservoirReplay | GeneratedReplay, Field(discriminator="kind")]


class Continual(Spec):
    """Next-token training on one text after another: first an earlier one, then the experiment's data."""

    kind: Literal["continual"] = "continual"
    earlier: Annotated[TextSource, OURS] = Field(
        PydocTopics.defaults(), description="The text that comes first, split as the experiment's data."
    )
    earlier_steps: Annotated[PositiveInt, OURS] = Field(300, description="Of recipe.steps, those on the earlier text.")
    replay: Annotated[ReplaySpec, CONTINUAL] = ReservoirReplay.defaults()
    protection: Annotated[ProtectionSpec, OURS] = Field(
        NoProtection.defaults(), description="What else keeps the weights near those of the earlier text."
    )


ObjectiveSpec = Annotated[NextToken | Recall | Continual, Field(discriminator="kind")]
