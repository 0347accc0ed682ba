"""A base that is trained itself, by adapters of peft or wholly: the control for sidecars on the same base."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from cortexzoo.specs.backbone import ArchitectureSpec, FolderBackbone, GPT2Architecture
from cortexzoo.specs.tuned import AllWeights, LowRankAdapters, TunedSpec
from cortexzoo.zoo import checkpoints
from cortexzoo.zoo.costs import batch_costs, parameter_count
from cortexzoo.zoo.errors import BackboneError, CheckpointError
from cortexzoo.zoo.models import adapters
from cortexzoo.zoo.models.base import content_hash
from cortexzoo.zoo.models.interface import MemoryLanguageModel
from cortexzoo.zoo.models.tuned import TunedBase, tuned_base
from tests.zoo.models.hybrid.random_base import random_backbone
from tests.zoo.models.hybrid.tiny import ARCHITECTURE, CHUNK, some_tokens

NEEDS_PEFT = pytest.mark.skipif(find_spec("peft") is None, reason="needs peft")
LORA = pytest.param(LowRankAdapters(rank=2), id="lora", marks=NEEDS_PEFT)
FULL = pytest.param(AllWeights(), id="full")
GPT2 = GPT2Architecture(hidden_size=16, num_heads=2, intermediate_size=24)


def spec_of(method: Any, architecture: ArchitectureSpec = ARCHITECTURE) -> TunedSpec:
    backbone = FolderBackbone(path="/none", architecture=architecture)
    return TunedSpec(name="tuned", backbone=backbone, chunk_size=CHUNK, method=method)


def tuned(method: Any, architecture: ArchitectureSpec = ARCHITECTURE, seed: int = 0) -> TunedBase:
    torch.manual_seed(seed)
    return tuned_base(spec_of(method, architecture), random_backbone(architecture))


def train_a_step(model: MemoryLanguageModel[Any], tokens: torch.Tensor) -> None:
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    for _ in range(2):  # B is 0 at first, so that A has no gradient before the second step.
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(
            model(tokens).logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()
        ).backward()
        optimizer.step()


@pytest.mark.parametrize("method", [LORA, FULL])
@pytest.mark.parametrize("architecture", [ARCHITECTURE, GPT2], ids=lambda given: given.layout)
def test_at_first_it_is_the_base_chunk_by_chunk(method: Any, architecture: ArchitectureSpec) -> None:
    model, tokens = tuned(method, architecture), some_tokens(2, 2 * CHUNK + 5)
    base = random_backbone(architecture).network
    with torch.no_grad():
        alone = [base(input_ids=piece, use_cache=False).logits for piece in tokens.split(CHUNK, dim=1)]
        assert torch.allclose(model(tokens).logits, torch.cat(alone, dim=1), atol=1e-6)
        assert torch.equal(model(tokens[:, :CHUNK]).logits, alone[0])


@pytest.mark.parametrize("method", [LORA, FULL])
def test_a_text_in_pieces_gives_the_logits_of_the_whole(method: Any) -> None:
    model, tokens = tuned(method), some_tokens(2, 3 * CHUNK)
    train_a_step(model, tokens)
    with torch.no_grad():
        whole = model(tokens)
        state, pieces = None, []
        for piece in tokens.split([3, CHUNK - 3, 1, 2 * CHUNK - 1], dim=1):
            output = model(piece, state)
            state = type(output.state).from_tensors(output.state.tensors())
            pieces.append(output.logits)
        assert torch.allclose(torch.cat(pieces, dim=1), whole.logits, atol=1e-5)
        assert torch.allclose(model.read(tokens).logits, whole.logits[:, -1:], atol=1e-5)
        assert model(tokens[:, :0]).logits.shape == (2, 0, model.vocab_size)
        assert model.read(tokens).state.sizes() == {"cache": 0} and model(tokens[:, :3]).state.sizes() == {"cache": 3}


@NEEDS_PEFT
def test_adapters_learn_and_the_base_stays() -> None:
    model = tuned(LowRankAdapters(rank=2))
    base = {name: value for name, value in model.base.network.state_dict().items() if "lora_" not in name}
    before, own = {n: v.clone() for n, v in base.items()}, {n: p.clone() for n, p in model.named_parameters()}
    train_a_step(model, some_tokens(2, 20))
    assert all(torch.equal(base[name], value) for name, value in before.items())
    assert all(not torch.equal(parameter, own[name]) for name, parameter in model.named_parameters())
    assert len(own) == 2 * 2 * 7, "A and B beside seven projections of two layers"


def test_wholly_every_weight_learns_and_without_dropout() -> None:
    model = tuned(AllWeights(), GPT2).train()
    assert torch.equal(model(some_tokens(1, 9)).logits, model(some_tokens(1, 9)).logits)
    before = content_hash(model.base.network)
    train_a_step(model, some_tokens(2, 20))
    assert content_hash(model.base.network) != before
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("method", [LORA, FULL])
def test_a_checkpoint_is_enough(method: Any, tmp_path: Path) -> None:
    model, tokens = tuned(method), some_tokens(1, 20)
    train_a_step(model, tokens)
    checkpoints.begin(tmp_path / "it")
    checkpoints.write_files(tmp_path / "it", {"model": model.state_dict()}, {})
    checkpoints.publish(tmp_path / "it")
    again = tuned(method, seed=1)
    checkpoints.load_weights(again, tmp_path / "it")
    assert torch.equal(again(tokens).logits, model(tokens).logits)


@NEEDS_PEFT
def test_adapters_belong_to_their_base() -> None:
    model = tuned(LowRankAdapters(rank=2))
    saved = model.state_dict()
    assert sum(value.numel() for value in saved.values()) == 32 + parameter_count(model.spec)
    other = tuned_base(model.spec, random_backbone(ARCHITECTURE, seed=1))
    with pytest.raises(CheckpointError, match="the adapters were trained on a base with the sum"):
        other.load_state_dict(saved)


@pytest.mark.parametrize("method", [LORA, FULL])
def test_costs_are_those_of_what_is_built(method: Any) -> None:
    model, spec = tuned(method), spec_of(method)
    costs = batch_costs(spec, 2, 20)
    assert costs.trained_parameters == parameter_count(spec) == sum(p.numel() for p in model.parameters())
    everything = sum(p.numel() for p in model.base.network.parameters())
    assert costs.trained_parameters + costs.frozen_parameters == everything


@NEEDS_PEFT
def test_projections_by_name() -> None:
    model = tuned(LowRankAdapters(rank=1, projections=("q_proj", "down_proj")))
    names = {name.split(".")[1] for name, _ in model.named_parameters()}
    assert names == {"self_attn-q_proj", "mlp-down_proj"}
    with pytest.raises(BackboneError, match=r"projections: qproj is no projection of the layers of .*, q_proj"):
        tuned(LowRankAdapters(projections=("qproj",)))


def test_without_peft_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "find_spec", lambda name: None)
    with pytest.raises(BackboneError, match=r"lora needs the package peft: pip install peft, or take kind: full"):
        tuned(LowRankAdapters())
