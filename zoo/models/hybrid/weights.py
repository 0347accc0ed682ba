"""Sidecars in a file of their own: safetensors, with the name and the sum of the base they were trained on."""

import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.specs.slow_store import ProductStore
from cortexzoo.zoo.checkpoints import set_weights
from cortexzoo.zoo.errors import CheckpointError
from cortexzoo.zoo.models.hybrid.model import Hybrid

FORMAT = "cortexzoo-sidecars-1"


def save_sidecars(model: Hybrid, file: Path) -> None:
    """Write the sidecars alone; the base stays where it came from.

    Raises `CheckpointError`, also for a base that trains along: it is in no other place.
    """
    if model.base.learns:
        raise CheckpointError(f"{file}: not written: sidecars alone are of no use without a {model.base.name}")
    metadata = {
        "format": FORMAT,
        "variant": model.spec.hash(),
        "base": model.base.name,
        "base_sha256": model.base.sha256,
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    partial = file.with_name(f".{file.name}.partial")
    try:
        partial.write_bytes(save(tensors, metadata))
        os.replace(partial, file)
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be written: {error.strerror or error}") from None


def load_sidecars(model: Hybrid, file: Path) -> None:
    """Give `model` the sidecars of `file`. Raises `CheckpointError` when they belong to another base or variant."""
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file}: cannot be read: {' '.join(str(error).split())}") from None
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{file}: contains no sidecars: format {FORMAT} is required, got {metadata.get('format')}"
        )
    if metadata["base_sha256"] != model.base.sha256:
        raise CheckpointError(
            f"{file}: belongs to the base {metadata['base']} with the sum {metadata['base_sha256'][:16]}…, but this "
            f"base is {model.base.name} with {model.base.sha256[:16]}…"
        )
    set_weights(model, tensors, file)


def with_slow_store(model: Hybrid, slow_store: ProductStore) -> Hybrid:
    """The same base and copies of the same sidecars, with an empty slow store beside one of them.

    Raises pydantic's `ValidationError` for a store that does not suit the sidecars.
    """
    spec = HybridSpec.model_validate({**dict(model.spec), "slow_store": slow_store})
    grown = Hybrid(spec, model.base).to(model.sidecar(spec.sidecar_layers[0]).output.weight)
    with torch.no_grad():
        own = dict(grown.named_parameters())
        for name, parameter in model.named_parameters():
            own[name].copy_(parameter)
    return grown.train(model.training)
