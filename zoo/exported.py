"""Exported models: a folder with the variant's spec, its weights and the memory that it was trained with."""

from pathlib import Path
from typing import Any

from cortexzoo.specs import SpecError, load
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.checkpoints import CheckpointReader, set_weights
from cortexzoo.zoo.errors import CheckpointError
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState
from cortexzoo.zoo.models.own_source import offer_copy
from cortexzoo.zoo.training.state.snapshot import load_memory

VARIANT = "variant.yaml"


def load_exported(folder: str | Path) -> tuple[MemoryLanguageModel[Any], MemoryState]:
    """The model of a folder that `cortexzoo export` wrote, in evaluation mode, and its memory for one row.

    Every file is checked against its sum first. Raises `CheckpointError` where one is missing or was edited, and
    `BackboneError` when the base of a sidecar cannot be had, `OwnModuleError` when it is a module of the user's whose
    code must not run.
    """
    place = Path(folder)
    reader = CheckpointReader(place)
    for file in reader.sums:
        reader.verified(file)
    try:
        variant = load(place / VARIANT, "variant")
    except SpecError as error:
        raise CheckpointError(str(error)) from None
    offer_copy(place, variant)
    model = build_model(variant, seed=0)
    set_weights(model, reader.tensors("model"), place)
    return model.eval(), model.between_batches(load_memory(model, place), 1)
