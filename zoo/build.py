"""The builder: specs in, modules and trainers out."""

from pathlib import Path
from typing import Any

import torch

from cortexzoo.specs.backbone import TrainedBackbone
from cortexzoo.specs.data import MixtureSpec, PreparedSpec, TextSpec
from cortexzoo.specs.experiment import ExperimentSpec
from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.specs.objective import Recall
from cortexzoo.specs.own_variant import HuggingFaceSpec, ModuleSpec
from cortexzoo.specs.plugins import built_by, is_added
from cortexzoo.specs.task import TaskSpec
from cortexzoo.specs.text_vocabulary import ByteTokens, TokenizerFile
from cortexzoo.specs.tuned import TunedSpec
from cortexzoo.specs.variant import CortexGPTSpec, TransformerSpec, VariantSpec, backbone_of
from cortexzoo.zoo.data.mixture import mixed_text
from cortexzoo.zoo.data.prepared import prepared_text
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.data.text_vocabulary import TokenizerVocabulary
from cortexzoo.zoo.models.backbones import fresh_network, load_backbone, load_tokenizer
from cortexzoo.zoo.models.base_tokenizer import tokenizer_of
from cortexzoo.zoo.models.cortexgpt import CortexGPT
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.interface import MemoryLanguageModel
from cortexzoo.zoo.models.own_module import TransformersModel, own_model
from cortexzoo.zoo.models.transformer import Transformer
from cortexzoo.zoo.models.tuned import tuned_base
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.recorder import Recorder


def build_model(variant: VariantSpec, seed: int | None = None) -> MemoryLanguageModel[Any]:
    """The model that a variant spec describes, with fresh weights.

    With `seed` the weights follow from it and torch's generator is left as it was; without, they come from that
    generator. Under `torch.device("meta")` only shapes are made. Raises `BackboneError` when a base cannot be had,
    `OwnModuleError` for a module of the user's that cannot be built or must not run.
    """
    with torch.random.fork_rng(enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        if is_added(variant):
            model: MemoryLanguageModel[Any] = built_by(variant)(variant)
            return model
        match variant:
            case CortexGPTSpec():
                return CortexGPT(variant)
            case HybridSpec():
                return Hybrid(variant, load_backbone(variant.backbone))
            case TunedSpec():
                return tuned_base(variant, load_backbone(variant.backbone))
            case TransformerSpec():
                return Transformer(variant)
            case ModuleSpec():
                return own_model(variant)
            case HuggingFaceSpec():
                return TransformersModel(
                    fresh_network(variant), variant.vocab_size, variant.max_length, variant.model_type
                )


def build_trainer(
    experiment: ExperimentSpec,
    *,
    recorder: Recorder | None = None,
    folder: Path | None = None,
    refused_batches: Path | None = None,
    progress: bool = False,
    tokenizer: Path | None = None,
) -> TrainingLoop:
    """A trainer for a fresh model of `experiment`; checkpoints go below `folder`, or nowhere.

    The first refused batches go into `refused_batches`, or nowhere. `tokenizer`: as for `load_data`.

    Raises `DataError` when the data cannot be read or does not suit recipe and model.
    """
    data = load_data(experiment, tokenizer)
    model = build_model(experiment.variant, experiment.seed)
    return TrainingLoop(
        model,
        experiment,
        data,
        recorder=recorder,
        checkpoints=folder,
        progress=progress,
        refused_batches=refused_batches,
    )


def load_data(experiment: ExperimentSpec, tokenizer: Path | None = None) -> TextData | TaskData:
    """What an experiment trains on. Raises `DataError`, and `BackboneError` when the base's tokenizer is missing.

    `tokenizer` is the file that a run of the experiment has kept, which counts in place of where it came from.
    """
    data, objective = experiment.data, experiment.recipe.objective
    backbone = backbone_of(experiment.variant)

    def of_base() -> TokenizerVocabulary | None:
        return None if backbone is None else tokenizer_of(backbone)

    if isinstance(data, PreparedSpec):
        return prepared_text(data, of_base, base_reads_bytes=isinstance(backbone, TrainedBackbone))
    if isinstance(data, MixtureSpec):
        if tokenizer is not None and not isinstance(data.vocabulary, ByteTokens):
            data = data.model_copy(update={"vocabulary": TokenizerFile(path=str(tokenizer))})
        return mixed_text(data, of_base, base_reads_bytes=isinstance(backbone, TrainedBackbone))
    if not isinstance(data, TaskSpec) or not isinstance(objective, Recall):
        if tokenizer is None or not isinstance(data, TextSpec) or isinstance(data.vocabulary, ByteTokens):
            return TextData.from_spec(data, of_base=of_base)
        return TextData.from_spec(data.model_copy(update={"vocabulary": TokenizerFile(path=str(tokenizer))}))
    of_task = None
    if data.vocabulary == "tokenizer" and backbone is not None:
        of_task = load_tokenizer(backbone)
    return TaskData.from_spec(data, experiment.seed, objective.drift.source, of_task)
