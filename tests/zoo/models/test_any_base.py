"""Any causal language model of transformers: tiny ones with random weights, of many architectures."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from cortexzoo import specs
from cortexzoo.harness.cli import main
from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.costs import batch_costs
from cortexzoo.zoo.errors import BackboneError
from cortexzoo.zoo.models.backbones import load_backbone
from cortexzoo.zoo.models.hybrid.model import Hybrid

USUAL: dict[str, Any] = {
    "vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 8, "intermediate_size": 48, "max_position_embeddings": 128,
}  # fmt: skip
OLD: dict[str, Any] = {"vocab_size": 96, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
BASES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi", "phi3", "olmo", "olmo2",
         "smollm3", "granite", "cohere", "cohere2", "stablelm", "starcoder2", "gpt_neox", "helium", "glm", "nemotron",
         "mixtral"),
        USUAL,
    ),
    "gpt2": OLD,
    "gpt_bigcode": OLD,
    "gptj": {**OLD, "rotary_dim": 8},
    "bloom": {"vocab_size": 96, "hidden_size": 32, "n_layer": 2, "n_head": 4},
    "opt": {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 48,
            "word_embed_proj_dim": 32, "max_position_embeddings": 128},
}  # fmt: skip
REFUSED = {
    "mamba": "keeps no keys and values",
    "recurrent_gemma": "a text in two pieces gives other logits|keeps no keys and values",
}
"""As transformers has it: before 5, some forwards took no cache."""


def folder_of(model_type: str, folder: Path) -> Path:
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = AutoConfig.for_model(model_type, **BASES.get(model_type, USUAL), **special)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder / "base")
    return folder / "base"


def variant_on(model_type: str, folder: Path) -> HybridSpec:
    """What `cortexzoo new --base` writes, with smaller chunks."""
    assert main(["new", str(folder / "mine.yaml"), "--base", str(folder_of(model_type, folder))]) == 0
    changes = ["chunk_size=8", "mixer.num_heads=1", "mixer.head_dim=8", "mixer.window_size=4", "mixer.key_products=0"]
    variant = specs.load(str(folder / "mine.yaml"), "variant", changes)
    assert isinstance(variant, HybridSpec)
    return variant


@pytest.mark.skipif(int(version("transformers").split(".")[0]) < 5, reason="transformers 4 runs each expert in turn")
def test_experts_are_counted_without_weights(tmp_path: Path) -> None:
    variant = variant_on("mixtral", tmp_path)
    costs = batch_costs(variant, 2, 8)
    (tmp_path / "dense").mkdir()
    dense = batch_costs(variant_on("mistral", tmp_path / "dense"), 2, 8)
    projections = 3 * 2 * 32 * 48  # operations of a token in an expert, of which it takes two in each of two layers
    extra = costs.forward_flops["base"] - dense.forward_flops["base"]
    assert extra == 2 * 8 * 2 * (projections + 2 * 32 * 8)  # and the router of eight


@pytest.mark.parametrize("model_type", list(BASES))
def test_a_base_is_found_its_places_and_left_as_it_is(model_type: str, tmp_path: Path) -> None:
    variant = variant_on(model_type, tmp_path)
    model = build_model(variant, seed=0).eval()
    assert isinstance(model, Hybrid)
    tokens = torch.arange(3, 11)[None]
    with torch.no_grad():
        # One chunk, as the base alone sees it: sidecars are without effect before training.
        expected = model.base.network(input_ids=tokens, use_cache=False).logits
        assert torch.equal(model(tokens).logits, expected)
        first = model(tokens[:, :5])
        rest = model(tokens[:, 5:], first.state)
    assert torch.allclose(torch.cat([first.logits, rest.logits], 1), expected, atol=1e-5)
    model.train()
    for sidecar in model.sidecars.values():
        torch.nn.init.normal_(sidecar.output.weight, std=0.1)
    torch.nn.functional.cross_entropy(model(tokens).logits[0, :-1], tokens[0, 1:]).backward()
    assert all(weight.grad is not None for weight in model.parameters() if weight.requires_grad)


@pytest.mark.parametrize("model_type", list(REFUSED))
def test_what_cannot_be_continued_is_refused_in_one_line(model_type: str, tmp_path: Path) -> None:
    variant = variant_on(model_type, tmp_path)
    with pytest.raises(BackboneError, match=REFUSED[model_type]) as caught:
        load_backbone(variant.backbone)
    assert "\n" not in str(caught.value)


def test_costs_of_any_base_are_counted_from_its_own_description(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    variant_on("gemma2", tmp_path)
    assert main(["show", str(tmp_path / "mine.yaml")]) == 0
    assert "frozen" in capsys.readouterr().out


@pytest.mark.parametrize(("base", "message"), [
    ("./nowhere", "--base ./nowhere: must be a folder with config.json"),
    ("nobody/nothing-of-that-name", "is neither in the local Hugging Face cache nor could it be fetched"),
    (".", "must be a folder with config.json"),
])  # fmt: skip
def test_what_is_no_base_is_one_line(
    base: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cortexzoo.zoo.models.backbones.hub_is_reachable", lambda: False)
    assert main(["new", "mine.yaml", "--base", base]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not Path("mine.yaml").exists()
