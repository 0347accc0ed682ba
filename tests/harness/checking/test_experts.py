"""A base with experts: its products round with the number of tokens that chose one, and are computed in float64."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import MixtralConfig, MixtralForCausalLM

from cortexzoo.harness.checking.experts import has_experts, in_float64
from cortexzoo.harness.checking.judge import judge_case
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.cli import main
from cortexzoo.specs import load_experiment
from cortexzoo.specs.properties import PropertyName
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.models.hybrid.model import Hybrid
from tests.harness.checking.properties.test_forward import untrained

SMALL = ("mixer.num_heads=1", "mixer.head_dim=8", "mixer.window_size=8", "mixer.key_products=1", "chunk_size=64")


@pytest.fixture(scope="module")
def mixtral(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp("mixtral")
    config = MixtralConfig(
        vocab_size=256, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=4, max_position_embeddings=128,
    )  # fmt: skip
    torch.manual_seed(0)
    MixtralForCausalLM(config).save_pretrained(folder / "base")
    assert main(["new", str(folder / "mine.yaml"), "--base", str(folder / "base")]) == 0
    variant = [f"variant={folder / 'mine.yaml'}", *(f"variant.{change}" for change in SMALL)]
    return untrained(load_experiment("cortex-v2-hybrid", variant))


CASES: list[tuple[PropertyName, dict[str, Any]]] = [
    ("causality", {"length": 33, "edited": 17}),
    ("batch_isolation", {"length": 17, "rows": 5, "edited_row": 0}),
    ("forward_matches_a_reference",
     {"length": 9, "rows": 2, "before": 0, "seed": 0, "text": "random", "training": False}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "case"), CASES)
def test_its_rounding_is_no_leak_and_its_formulas_are_in_float64(
    mixtral: Subject, name: PropertyName, case: dict[str, Any]
) -> None:
    judgement = judge_case(REGISTRY[name], Check(), mixtral, case)
    assert judgement.verdict == "pass", judgement.reason


@pytest.mark.parametrize("leak", [0, 1])
def test_a_leak_beyond_rounding_is_one(mixtral: Subject, monkeypatch: pytest.MonkeyPatch, leak: int) -> None:
    """From the next place, and from the next row: at most 1e-4 is added to an output."""
    forward = Hybrid.forward

    def leaking(model: Hybrid, tokens: Tensor, *given: Any, **named: Any) -> Any:
        output = forward(model, tokens, *given, **named)
        return replace(output, logits=output.logits + 1e-4 * tokens.roll(-1, dims=1 - leak)[..., None] / 256)

    monkeypatch.setattr(Hybrid, "forward", leaking)
    name, case = CASES[leak]
    assert judge_case(REGISTRY[name], Check(), mixtral, case).verdict == "fail"


def test_experts_are_found_and_a_copy_in_float64_leaves_the_others(mixtral: Subject) -> None:
    assert has_experts(mixtral.model) and not mixtral.exact
    copied = in_float64(mixtral.copy())
    assert {each.dtype for each in copied.base_network.parameters()} == {torch.float64}
    assert {each.dtype for each in mixtral.model.base_network.parameters()} == {torch.float32}
    assert untrained(load_experiment("cortexgpt-stable", [])).exact
