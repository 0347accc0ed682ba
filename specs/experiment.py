"""An experiment: variant + recipe + data + suite + seed."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from cortexzoo.specs.backbone import PRETRAINED, TrainedBackbone
from cortexzoo.specs.base import NamedSpec
from cortexzoo.specs.data import DataSpec, MixtureSpec, TextSpec
from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.specs.objective import InChunkDivergence, Recall
from cortexzoo.specs.plasticity import NoHomeostasis
from cortexzoo.specs.provenance import OURS
from cortexzoo.specs.recipe import RecipeSpec
from cortexzoo.specs.sleep import ConsolidateSleep
from cortexzoo.specs.suite import SuiteSpec
from cortexzoo.specs.task import TaskSpec
from cortexzoo.specs.text_vocabulary import BaseTokens, ByteTokens, TrainedBPE
from cortexzoo.specs.tracker import TrackerName
from cortexzoo.specs.variant import CortexGPTSpec, SoftThreshold, VariantSpec, backbone_of

BYTES = 256


class ExperimentSpec(NamedSpec):
    """Everything that one training run and its verdict depend on. Each part is a spec or the name of a spec file."""

    kind: Literal["experiment"] = "experiment"
    variant: VariantSpec
    recipe: RecipeSpec
    data: DataSpec
    suite: SuiteSpec
    seed: Annotated[int, Field(ge=0, lt=2**31), OURS] = 0
    trackers: Annotated[tuple[TrackerName, ...], OURS] = Field(
        ("jsonl", "aim"),
        description="Where metrics, events and the outcome go; jsonl, the run folder, is always included.",
    )

    @field_validator("trackers")
    @classmethod
    def _each_once(cls, trackers: tuple[TrackerName, ...]) -> tuple[TrackerName, ...]:
        if len(set(trackers)) < len(trackers):
            raise ValueError(f"must name each tracker once, got {', '.join(trackers)}")
        return trackers

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        is_task, objective = isinstance(self.data, TaskSpec), self.recipe.objective.kind
        if is_task != (objective == "recall"):
            raise ValueError(
                f"recipe.objective.kind must be {'recall' if is_task else 'next_token'} with data of the family "
                f"{self.data.family}, got {objective}"
            )
        if isinstance(self.recipe.sleep, ConsolidateSleep):
            slow_store = self.variant.slow_store.kind if isinstance(self.variant, HybridSpec) else "none"
            if slow_store == "none":
                raise ValueError(
                    f"recipe.sleep.kind must not be consolidate without a slow store, and {self.variant.name} has "
                    "none: set variant.slow_store, or choose another kind of sleep"
                )
        self._require_columns()
        if isinstance(self.data, TextSpec | MixtureSpec):
            self._require_tokens(self.data)
        if isinstance(self.data, TaskSpec) and isinstance(self.recipe.objective, Recall):
            self._require_recall(self.data, self.recipe.objective)
        return self

    def _require_columns(self) -> None:
        """Homeostasis reads the soft masks of columns."""
        if isinstance(self.recipe.homeostasis, NoHomeostasis):
            return
        variant = self.variant
        if not isinstance(variant, CortexGPTSpec) or not isinstance(variant.columns.sparsity, SoftThreshold):
            raise ValueError(
                f"recipe.homeostasis.kind must be none, got {self.recipe.homeostasis.kind}: {variant.name} has no "
                "columns with a soft mask"
            )

    def _require_tokens(self, data: TextSpec | MixtureSpec) -> None:
        """A base reads no other tokens than those it was trained on."""
        kind = data.vocabulary.kind
        if self.recipe.objective.kind == "continual" and kind != "bytes":
            raise ValueError(f"data.vocabulary.kind must be bytes with the objective continual, got {kind}")
        backbone = backbone_of(self.variant)
        if isinstance(backbone, PRETRAINED):
            if isinstance(data.vocabulary, ByteTokens | TrainedBPE) and backbone.architecture.vocab_size != BYTES:
                raise ValueError(
                    f"data.vocabulary.kind must be base (or file, with the same tokenizer), got {kind}: the base of "
                    f"{self.variant.name} has {backbone.architecture.vocab_size} tokens of its own"
                )
        elif isinstance(data.vocabulary, BaseTokens):
            raise ValueError(
                f"data.vocabulary.kind must be bytes, file or bpe, got base: {self.variant.name} has no pretrained base"
            )
        elif isinstance(backbone, TrainedBackbone) and kind != "bytes":
            raise ValueError(
                f"data.vocabulary.kind must be bytes, got {kind}: the base of {self.variant.name} is trained on bytes"
            )
        if isinstance(data.vocabulary, TrainedBPE) and data.vocabulary.size > self.variant.vocab_size:
            raise ValueError(
                f"data.vocabulary.size must be at most the vocab_size of {self.variant.name}, "
                f"{self.variant.vocab_size}, got {data.vocabulary.size}"
            )

    def _require_recall(self, data: TaskSpec, objective: Recall) -> None:
        hybrid = self.variant if isinstance(self.variant, HybridSpec) else None
        if hybrid is not None and data.chunk_size != hybrid.chunk_size:
            raise ValueError(
                f"data.chunk_size must be variant.chunk_size = {hybrid.chunk_size}, "
                f"got {data.chunk_size}: a gap counts what the model sees at a time"
            )
        backbone = backbone_of(self.variant)
        foreign = isinstance(backbone, PRETRAINED) and backbone.architecture.vocab_size != BYTES
        if foreign and data.vocabulary == "bytes":
            raise ValueError(
                f"data.vocabulary must be tokenizer (or own), got bytes: the base of {self.variant.name} has "
                f"{self.variant.vocab_size} tokens of its own"
            )
        from_scratch = hybrid is not None and hybrid.backbone.kind == "scratch"
        if from_scratch and data.vocabulary == "tokenizer":
            raise ValueError(
                f"data.vocabulary must be own or bytes, got tokenizer: the base of {self.variant.name} is from scratch "
                "and has none"
            )
        tokens = {"own": data.num_symbols, "bytes": BYTES, "tokenizer": 0}[data.vocabulary]
        if tokens > self.variant.vocab_size:
            raise ValueError(
                f"variant.vocab_size must be at least {tokens}, as many tokens as the task {data.name} is written in, "
                f"got {self.variant.vocab_size}"
            )
        if isinstance(objective.in_chunk, InChunkDivergence):
            needed = "recipe.objective.in_chunk.kind must be none or samples"
            if hybrid is None or from_scratch:
                raise ValueError(f"{needed}, got kl: {self.variant.name} has no frozen base to stay near")
            if data.vocabulary == "own":
                raise ValueError(f"{needed} with data.vocabulary own, got kl: no text can be written in its tokens")
        if objective.recompute_activations and hybrid is None:
            raise ValueError(
                f"recipe.objective.recompute_activations must be false, got true: {self.variant.name} is not a hybrid"
            )
