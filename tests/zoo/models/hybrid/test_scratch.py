"""A hybrid from scratch: its base trains along with the sidecars and is saved with them."""

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from cortexzoo.specs.backbone import ArchitectureSpec, GPT2Architecture, Qwen2Architecture, ScratchBackbone
from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.costs import parameter_count
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.training.evaluation import lm_loss
from tests.zoo.models.hybrid.tiny import ARCHITECTURE, CHUNK, MIXER, some_tokens

TIED = Qwen2Architecture(hidden_size=16, num_heads=2, num_kv_heads=1, intermediate_size=24, tied_embeddings=True)
GPT2 = GPT2Architecture(hidden_size=16, num_heads=2, intermediate_size=24)


def scratch(architecture: ArchitectureSpec = ARCHITECTURE, seed: int = 0, init_std: float = 0.02) -> Hybrid:
    backbone = ScratchBackbone(architecture=architecture, init_std=init_std)
    model = build_model(HybridSpec(name="scratch", backbone=backbone, chunk_size=CHUNK, mixer=MIXER), seed)
    assert isinstance(model, Hybrid)
    return model


@pytest.mark.parametrize("architecture", [ARCHITECTURE, TIED, GPT2], ids=["untied", "tied", "gpt2"])
def test_every_weight_counts_and_trains_and_none_is_drawn_anew(architecture: ArchitectureSpec) -> None:
    model = scratch(architecture)
    assert sum(p.numel() for p in model.parameters()) == parameter_count(model.spec)
    grouped = [p for group in model.parameter_groups().values() for p in group]
    assert {id(p) for p in grouped} == {id(p) for p in model.parameters()} and len(grouped) == len({*map(id, grouped)})
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = lm_loss(model.train(), some_tokens(2, 3 * CHUNK + 1))[0]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(not torch.equal(p, start[name]) for name, p in model.named_parameters())
    tokens = some_tokens(1, 2 * CHUNK)
    assert torch.equal(model(tokens).logits, model(tokens).logits)


def test_weights_follow_from_the_seed_and_have_the_size_asked_for() -> None:
    def embeddings(model: Hybrid) -> torch.Tensor:
        return next(p for name, p in model.named_parameters() if name.endswith("embed_tokens.weight"))

    assert torch.equal(embeddings(scratch(seed=1)), embeddings(scratch(seed=1)))
    assert not torch.equal(embeddings(scratch(seed=1)), embeddings(scratch(seed=2)))
    assert abs(embeddings(scratch(init_std=0.3)).std().item() - 0.3) < 0.02


def test_what_is_saved_holds_the_base_and_loads_onto_any_other_of_its_shape() -> None:
    model, other = scratch(), scratch(seed=1)
    tokens = some_tokens(2, 2 * CHUNK)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(tokens).logits, model(tokens).logits)


def test_casting_takes_the_base_along() -> None:
    model = scratch().double()
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert model(some_tokens(1, 9)).logits.dtype == torch.float64


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("architecture", [ARCHITECTURE, GPT2], ids=["qwen2", "gpt2"])
def test_logits_at_some_places_are_those_of_all_with_the_same_gradients(
    architecture: ArchitectureSpec, recompute: bool
) -> None:
    model = scratch(architecture).double()
    for layer in model.sidecars:
        torch.nn.init.normal_(model.sidecar(layer).output.weight, std=0.5)
    model.recompute_activations = recompute
    tokens = some_tokens(3, 4 * CHUNK + 3)
    state = model(tokens[:, :5]).state.detached()  # so that the call begins within a chunk, and has three pieces
    tokens = tokens[:, 5:]
    places = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(0)) < 0.3
    targets = torch.arange(int(places.sum())) % 256
    whole = model(tokens, state)
    answered = model.logits_at(tokens, places, state)
    chosen, after = answered.logits, answered.state
    assert torch.allclose(chosen, whole.logits[places], rtol=0, atol=1e-12)
    for name, tensor in after.tensors().items():
        assert torch.allclose(tensor.double(), whole.state.tensors()[name].double(), rtol=0, atol=1e-12)
    found = []
    for logits in (whole.logits[places], chosen):
        model.zero_grad()
        F.cross_entropy(logits, targets).backward()
        found.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys() and found[0]
    for name, gradient in found[0].items():
        assert torch.allclose(found[1][name], gradient, rtol=0, atol=1e-10), name
    assert model.logits_at(tokens, torch.zeros_like(places), state).logits.shape == (0, 256)
