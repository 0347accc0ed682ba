"""The tokenizer of a pretrained base: found beside its weights, and the only tokens it is trained in."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from cortexzoo import specs
from cortexzoo.specs.backbone import FolderBackbone, Qwen2Architecture
from cortexzoo.specs.data import TextFiles, TextSpec
from cortexzoo.specs.experiment import ExperimentSpec
from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.specs.text_vocabulary import BaseTokens, ByteTokens
from cortexzoo.zoo.build import build_trainer, load_data
from cortexzoo.zoo.data.text_vocabulary import trained_bpe
from cortexzoo.zoo.errors import DataError
from cortexzoo.zoo.models.base_tokenizer import tokenizer_of
from tests.zoo.models.hybrid.random_base import random_backbone

TEXT = "".join(f"{n} boats on the river, {n * n} below the bridge\n" for n in range(300))


def experiment(folder: Path, vocab_size: int, tokens: BaseTokens | ByteTokens) -> ExperimentSpec:
    """A base of two layers in `folder`, without a tokenizer, and an experiment on it."""
    shape = Qwen2Architecture(vocab_size=vocab_size, hidden_size=32, num_heads=2, num_kv_heads=2, intermediate_size=48)
    random_backbone(shape).network.save_pretrained(folder / "base")
    (folder / "text.txt").write_text(TEXT)
    data = TextSpec(name="t", source=TextFiles(paths=(str(folder / "text.txt"),)), vocabulary=tokens)
    variant = HybridSpec(
        name="on-a-folder", chunk_size=16, backbone=FolderBackbone(path=str(folder / "base"), architecture=shape)
    )
    recipe = specs.load("robust", "recipe", ["steps=2", "batch_size=2", "sequence_length=16"])
    suite = specs.load("every-property", "suite")
    return ExperimentSpec(name="e", variant=variant, recipe=recipe, data=data, suite=suite)


def add_tokenizer(folder: Path, size: int) -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(trained_bpe([TEXT], size, 2)))
    tokenizer.save_pretrained(folder / "base")


def test_a_folder_is_trained_in_its_own_tokens(tmp_path: Path) -> None:
    spec = experiment(tmp_path, 300, BaseTokens())
    with pytest.raises(DataError, match="kind base: the base has no tokenizer: name its file"):
        load_data(spec)
    add_tokenizer(tmp_path, 300)
    trainer = build_trainer(spec)
    assert trainer.objective.tokenizer is not None
    result = trainer.run()
    assert result.bytes_per_token is not None and result.bytes_per_token > 1.2
    assert result.validation_loss is not None


def test_bytes_for_a_folder_with_a_tokenizer_are_refused_before_training(tmp_path: Path) -> None:
    spec = experiment(tmp_path, 256, ByteTokens())
    assert load_data(spec) is not None, "a base of 256 tokens without a tokenizer may be one of bytes"
    add_tokenizer(tmp_path, 257)
    with pytest.raises(DataError, match=r"data\.vocabulary\.kind must be base, got bytes: the base has a tokenizer"):
        build_trainer(spec)
    assert isinstance(spec.variant, HybridSpec)
    found = tokenizer_of(spec.variant.backbone)
    assert found is not None and found.needed == 257
