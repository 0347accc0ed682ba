"""Bases that are trained here: once for each spec and text, deterministic, and kept where the user says."""

import string
from pathlib import Path

import numpy as np
import pytest
import torch

from cortexzoo.specs.backbone import BaseTrainingSpec, Qwen2Architecture, TrainedBackbone
from cortexzoo.specs.data import TextFiles
from cortexzoo.zoo.cache import CACHE_VARIABLE
from cortexzoo.zoo.errors import CheckpointError, DataError
from cortexzoo.zoo.models.backbones import load_backbone
from cortexzoo.zoo.models.trained_base import spelling

SMALL = Qwen2Architecture(hidden_size=16, num_heads=2, num_kv_heads=1, intermediate_size=24)


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A short text to train on, and a cache of the test's own."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    file = tmp_path / "text.txt"
    file.write_text("the quick brown fox jumps over the lazy dog. " * 80)
    return file


def spec(text: Path, **training: int) -> TrainedBackbone:
    source = TextFiles(paths=(str(text),))
    steps = {"steps": 12, "batch_size": 4, "sequence_length": 32, "warmup_steps": 2} | training
    return TrainedBackbone(architecture=SMALL, training=BaseTrainingSpec(source=source, **steps))


def cached(text: Path) -> list[Path]:
    return sorted(path for path in (text.parent / "cache" / "bases").iterdir() if path.is_dir())


def test_it_is_trained_once_and_then_taken_from_the_cache(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_rng_state()
    first = load_backbone(spec(text))
    told = capsys.readouterr().err
    assert "training the base: step 12/12" in told and "held-out loss" in told
    again = load_backbone(spec(text))
    assert capsys.readouterr().err == ""
    assert torch.equal(torch.get_rng_state(), before)
    assert first.sha256 == again.sha256
    assert len(cached(text)) == 1
    (cached(text)[0] / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="is damaged"):
        load_backbone(spec(text))


def test_training_is_deterministic_and_another_spec_or_text_is_another_base(text: Path) -> None:
    first = load_backbone(spec(text))
    for path in cached(text):
        path.rename(path.with_name("moved"))
    assert load_backbone(spec(text)).sha256 == first.sha256
    assert load_backbone(spec(text, seed=1)).sha256 != first.sha256
    text.write_text(text.read_text() + "and again")
    assert load_backbone(spec(text)).sha256 != first.sha256
    assert len(cached(text)) == 4


def test_spelled_windows_repeat_printable_characters() -> None:
    window = spelling(3, 33, np.random.default_rng(0))
    assert window.shape == (3, 33)
    assert {chr(byte) for byte in window.flatten().tolist()} <= set(string.printable)
    changes = (window[:, 1:] != window[:, :-1]).sum().item()
    assert 3 * 33 / 5 < changes < 3 * 33 / 2 + 3


def test_it_learns(text: Path) -> None:
    base = load_backbone(spec(text, steps=150))
    tokens = torch.frombuffer(bytearray(b"the quick brown fox jumps over the "), dtype=torch.uint8).long()[None]
    with torch.no_grad():
        logits = base.network(tokens[:, :-1]).logits
    assert torch.nn.functional.cross_entropy(logits[0], tokens[0, 1:]) < 2.0


def test_a_text_that_is_too_short_is_refused_before_anything_is_trained(text: Path) -> None:
    text.write_text("short")
    with pytest.raises(DataError, match="the training part has 4 bytes, but one sequence"):
        load_backbone(spec(text))
