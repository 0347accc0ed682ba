"""The builder: specs in, modules and trainers out."""

from pathlib import Path
from typing import Any

import torch

from specs.experiment import ExperimentSpec
from specs.hybrid import HybridSpec
from specs.objective import Recall
from specs.task import TaskSpec
from specs.variant import CortexGPTSpec, TransformerSpec, VariantSpec
from zoo.data.task_data import TaskData
from zoo.data.text import TextData
from zoo.models.backbones import load_backbone, load_tokenizer
from zoo.models.cortexgpt import CortexGPT
from zoo.models.hybrid.model import Hybrid
from zoo.models.interface import MemoryLanguageModel
from zoo.models.transformer import Transformer
from zoo.training.loop import Trainer
from zoo.training.recorder import Recorder


def build_model(variant: VariantSpec, seed: int | None = None) -> MemoryLanguageModel[Any]:
    """The model that a variant spec describes, with fresh weights.

    With `seed` the weights follow from it and torch's generator is left as it was; without, they come from that
    generator. Under `torch.device("meta")` only shapes are made. Raises `BackboneError` when a base cannot be had.
    """
    with torch.random.fork_rng(enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        match variant:
            case CortexGPTSpec():
                return CortexGPT(variant)
            case HybridSpec():
                return Hybrid(variant, load_backbone(variant.backbone))
            case TransformerSpec():
                return Transformer(variant)


def build_trainer(
    experiment: ExperimentSpec,
    *,
    recorder: Recorder | None = None,
    folder: Path | None = None,
    refused_batches: Path | None = None,
    progress: bool = False,
) -> Trainer:
    """A trainer for a fresh model of `experiment`; checkpoints go below `folder`, or nowhere.

    The first refused batches go into `refused_batches`, or nowhere.

    Raises `DataError` when the data cannot be read or does not suit recipe and model.
    """
    data = load_data(experiment)
    model = build_model(experiment.variant, experiment.seed)
    return Trainer(
        model,
        experiment,
        data,
        recorder=recorder,
        checkpoints=folder,
        progress=progress,
        refused_batches=refused_batches,
    )


def load_data(experiment: ExperimentSpec) -> TextData | TaskData:
    """What an experiment trains on. Raises `DataError`, and `BackboneError` when the base's tokenizer is missing."""
    data, objective = experiment.data, experiment.recipe.objective
    if not isinstance(data, TaskSpec) or not isinstance(objective, Recall):
        return TextData.from_spec(data)
    tokenizer = None
    if data.vocabulary == "tokenizer" and isinstance(experiment.variant, HybridSpec):
        tokenizer = load_tokenizer(experiment.variant.backbone)
    return TaskData.from_spec(data, experiment.seed, objective.drift.source, tokenizer)
