"""Tasks that test memory: facts, a gap of noise, then questions about the facts. Each kind carries its version."""

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from cortexzoo.specs.base import NamedSpec, PositiveFloat, PositiveInt, Spec
from cortexzoo.specs.filler import FillerSpec, MixedFiller, NoiseFiller, OneFiller
from cortexzoo.specs.plugins import extended
from cortexzoo.specs.provenance import OURS, Source

STAGE_A1 = Source("Cortex v2 stage A1", "user")
RECALL = Source("runs on recall beyond the window", "measured-here")
ZOOLOGY = Source("Zoology, Arora et al. 2023, arXiv:2312.04927", "paper")
MAMBA = Source("Mamba, Gu and Dao 2023, arXiv:2312.00752", "paper")
PASSKEY = Source("landmark attention, Mohtashami and Jaggi 2023, arXiv:2305.16300", "paper")

LETTERS = 26
LONGEST_KEY = 12
"""Letters: 26^12 keys can still be counted in 63 bits."""
BYTES = 256

Version = Annotated[Literal[1], OURS]


class KeyValue(Spec):
    """Pairs of a word and a word, spelled letter by letter: `abc=wxyz;`. A question is a key, the answer its value."""

    kind: Literal["kv"] = "kv"
    version: Version = 1
    num_pairs: Annotated[PositiveInt, STAGE_A1] = 6
    key_length: Annotated[int, Field(ge=1, le=LONGEST_KEY), STAGE_A1] = 3
    value_length: Annotated[PositiveInt, STAGE_A1] = 4
    num_queries: Annotated[PositiveInt, STAGE_A1] = Field(1, description="Questions: distinct keys.")

    @model_validator(mode="after")
    def _keys_suffice(self) -> Self:
        _at_most(self, "num_pairs", LETTERS**self.key_length, f"distinct keys of {self.key_length} letters")
        _at_most(self, "num_queries", self.num_pairs, "pairs")
        return self


class Copy(Spec):
    """A string of letters, to be written again, backwards or as it was."""

    kind: Literal["copy"] = "copy"
    version: Version = 1
    num_letters: Annotated[PositiveInt, OURS] = 16
    order: Annotated[Literal["reversed", "same"], STAGE_A1] = "reversed"


class NBack(Spec):
    """A string of letters; a question gives a distance; the answer is the letter at that distance from the end."""

    kind: Literal["nback"] = "nback"
    version: Version = 1
    num_letters: Annotated[int, Field(ge=1, le=99), OURS] = 8
    num_queries: Annotated[PositiveInt, OURS] = Field(4, description="Questions: distinct distances.")

    @model_validator(mode="after")
    def _distances_suffice(self) -> Self:
        _at_most(self, "num_queries", self.num_letters, "letters")
        return self


class Addition(Spec):
    """Two numbers of equal length; after the gap their sum, most significant digit first, one digit longer."""

    kind: Literal["add"] = "add"
    version: Version = 1
    num_digits: Annotated[int, Field(ge=1, le=1000), STAGE_A1] = 32


class PairsOfTokens(Spec):
    """One-token keys bound to one-token values. Keys, values and noise come from three sets of tokens."""

    num_pairs: Annotated[PositiveInt, RECALL] = 6
    num_queries: Annotated[PositiveInt, RECALL] = Field(6, description="Questions: distinct keys.")
    num_keys: Annotated[PositiveInt, RECALL] = 64
    num_values: Annotated[int, Field(ge=2), RECALL] = 64
    num_noise: Annotated[PositiveInt, OURS] = Field(64, description="Tokens that noise is drawn from.")

    @property
    def num_tokens(self) -> int:
        """Distinct tokens that the task needs."""
        return self.num_keys + self.num_values + self.num_noise

    @model_validator(mode="after")
    def _keys_suffice(self) -> Self:
        _at_most(self, "num_pairs", self.num_keys, "distinct keys")
        _at_most(self, "num_queries", self.num_pairs, "pairs")
        return self


class TokenPairs(PairsOfTokens):
    """Pairs of a one-token key and a one-token value; a question is a key, the answer its value."""

    kind: Literal["kv_tokens"] = "kv_tokens"
    version: Version = 1


class Overwrite(PairsOfTokens):
    """As `kv_tokens`, but some keys are bound again, to another value, before the gap: the last value counts."""

    kind: Literal["overwrite"] = "overwrite"
    version: Version = 1
    num_rebound: Annotated[PositiveInt, RECALL] = Field(3, description="Keys that are bound a second time.")

    @model_validator(mode="after")
    def _pairs_suffice(self) -> Self:
        _at_most(self, "num_rebound", self.num_pairs, "pairs")
        return self


class MultiQueryRecall(Spec):
    """MQAR: one question for each key, at places drawn from a power law, among keys that are never bound."""

    kind: Literal["mqar"] = "mqar"
    version: Version = 1
    vocab_size: Annotated[int, Field(ge=4), ZOOLOGY] = Field(8192, description="Lower half keys, upper half values.")
    sequence_length: Annotated[PositiveInt, ZOOLOGY] = Field(64, description="Pairs and questions, gap not counted.")
    num_pairs: Annotated[PositiveInt, ZOOLOGY] = 4
    power: Annotated[PositiveFloat, ZOOLOGY] = Field(0.01, description="Place i is drawn with weight i^(power - 1).")

    @property
    def num_tokens(self) -> int:
        """Distinct tokens that the task needs."""
        return self.vocab_size

    @model_validator(mode="after")
    def _questions_fit(self) -> Self:
        if self.vocab_size % 2:
            raise ValueError(f"vocab_size must be even, half of it keys and half of it values, got {self.vocab_size}")
        # One key stays unbound at least: noise is drawn from those.
        _at_most(self, "num_pairs", self.vocab_size // 2 - 1, f"keys of {self.vocab_size} tokens, one kept for noise")
        _at_most(self, "num_pairs", self.sequence_length // 4, f"pairs and questions in {self.sequence_length} tokens")
        return self


class SelectiveCopy(Spec):
    """A few tokens scattered over a long blank, to be written again in their order."""

    kind: Literal["selective_copy"] = "selective_copy"
    version: Version = 1
    sequence_length: Annotated[PositiveInt, MAMBA] = 4096
    vocab_size: Annotated[int, Field(ge=4), MAMBA] = Field(16, description="Two of them are the blank and the cue.")
    num_copied: Annotated[PositiveInt, MAMBA] = 16

    @property
    def num_tokens(self) -> int:
        """Distinct tokens that the task needs."""
        return self.vocab_size

    @model_validator(mode="after")
    def _tokens_fit(self) -> Self:
        _at_most(self, "num_copied", self.sequence_length, "places of the sequence")
        return self


class Passkey(Spec):
    """A number, given once in a long repetitive text; the question comes at the end."""

    kind: Literal["passkey"] = "passkey"
    version: Version = 1
    num_digits: Annotated[int, Field(ge=1, le=1000), PASSKEY] = 5
    depth_chunks: Annotated[int, Field(ge=0, le=10_000), OURS] = Field(
        3,
        description="The number follows 0 to this many extra chunks of text, at random; the gap comes after them.",
    )


MemoryTask = Annotated[
    KeyValue | Copy | NBack | Addition | TokenPairs | Overwrite | MultiQueryRecall | SelectiveCopy | Passkey,
    Field(discriminator="kind"),
]
if not TYPE_CHECKING:
    MemoryTask = extended(MemoryTask, "tasks")


class TaskSpec(NamedSpec):
    """A memory task, its vocabulary, and the gaps between facts and questions."""

    kind: Literal["data"] = "data"
    family: Literal["task"] = "task"
    task: MemoryTask
    vocabulary: Annotated[Literal["bytes", "tokenizer", "own"], OURS] = Field(
        "bytes", description="bytes: 256 tokens; tokenizer: the base's own; own: only what the task needs."
    )
    chunk_size: Annotated[PositiveInt, RECALL] = Field(
        64, description="Tokens that the model sees at a time; chunks begin at multiples of it."
    )
    gap_unit: Annotated[Literal["chunks", "tokens"], OURS] = Field(
        "chunks",
        description="chunks: whole chunks of noise; tokens: exactly this many, also within a chunk.",
    )
    gaps: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1), RECALL] = (1, 4, 16, 64)
    filler: Annotated[FillerSpec, OURS] = Field(
        NoiseFiller(), description="The text around and between facts and questions."
    )
    document_chunks: Annotated[PositiveInt | None, OURS] = Field(
        None, description="Noise before the facts fills each document to this many chunks; null: no noise there."
    )
    evaluation_documents: Annotated[PositiveInt, OURS] = Field(128, description="Evaluation documents for each gap.")

    @property
    def num_symbols(self) -> int:
        """Distinct tokens that the task needs; 0 for one that is spelled in characters."""
        task = self.task
        return task.num_tokens if isinstance(task, PairsOfTokens | MultiQueryRecall | SelectiveCopy) else 0

    @model_validator(mode="after")
    def _bytes_suffice(self) -> Self:
        needed = self.num_symbols
        if self.vocabulary == "bytes" and needed > BYTES:
            raise ValueError(f"vocabulary must be own or tokenizer, as the task needs {needed} tokens, got 'bytes'")
        return self

    @property
    def fillers(self) -> tuple[OneFiller, ...]:
        """Those that documents take turns with."""
        return self.filler.of if isinstance(self.filler, MixedFiller) else (self.filler,)

    @model_validator(mode="after")
    def _fillers_fit(self) -> Self:
        task, kinds = self.task, [filler.kind for filler in self.fillers]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"filler.of must name each kind once, got {', '.join(kinds)}")
        others = [kind for kind in kinds if kind != "noise"]
        if others and not isinstance(task, KeyValue | PairsOfTokens):
            raise ValueError(
                f"filler.kind must be noise for the task {task.kind}, got {others[0]}: only pairs have other fillers"
            )
        spelled_out = [kind for kind in others if kind in ("unseen_noise", "text")]
        if self.vocabulary == "own" and spelled_out:
            raise ValueError(f"filler.kind must be noise, pairs or near_keys with vocabulary own, got {spelled_out[0]}")
        uses_all = isinstance(task, PairsOfTokens) and task.num_tokens == BYTES and self.vocabulary == "bytes"
        if uses_all and "unseen_noise" in kinds:
            raise ValueError("filler.kind must not be unseen_noise: the task uses all 256 bytes")
        of_keys = [kind for kind in others if kind in ("pairs", "near_keys")]
        if of_keys and isinstance(task, KeyValue | PairsOfTokens):
            keys = task.num_keys if isinstance(task, PairsOfTokens) else LETTERS**task.key_length
            if keys <= task.num_pairs:
                raise ValueError(
                    f"filler.kind must be a kind without further keys, got {of_keys[0]}: "
                    f"num_pairs = {task.num_pairs} leaves no key that is not asked for among {keys}"
                )
        return self


def _at_most(spec: Spec, field: str, limit: int, what: str) -> None:
    if getattr(spec, field) > limit:
        raise ValueError(f"{field} must be at most {limit}, the number of {what}, got {getattr(spec, field)}")
