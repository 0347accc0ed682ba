"""The hybrid: the base until something is learned, chunks that only sidecars cross, gradients through the state."""

from contextlib import nullcontext
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel

from cortexzoo.specs.backbone import (
    ArchitectureSpec,
    GPT2Architecture,
    LlamaArchitecture,
    MistralArchitecture,
    Qwen2Architecture,
    Qwen3Architecture,
)
from cortexzoo.specs.mixer import MixerSpec
from cortexzoo.specs.recipe import AdamWSpec, RateFactors
from cortexzoo.zoo.errors import CheckpointError
from cortexzoo.zoo.models.base import content_hash
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.hybrid.state import HybridState
from cortexzoo.zoo.training.evaluation import lm_loss
from cortexzoo.zoo.training.optimizer import build_optimizer
from tests.tolerances import SIDECAR_SPLIT
from tests.zoo.models.hybrid.random_base import random_backbone
from tests.zoo.models.hybrid.tiny import CHUNK, relative_error, some_tokens, tiny_hybrid, tiny_spec

EXACT = torch.__version__ >= (2, 7)
"""Before, the bits of fused attention with shared keys depend on strides."""
ROTARY = {"hidden_size": 16, "num_heads": 2, "num_kv_heads": 1, "intermediate_size": 24}
LAYOUTS: list[ArchitectureSpec] = [
    Qwen2Architecture(**ROTARY, tied_embeddings=True),
    Qwen3Architecture(**ROTARY, head_dim=6),
    LlamaArchitecture(**ROTARY),
    MistralArchitecture(**ROTARY),
    GPT2Architecture(hidden_size=16, num_heads=2, intermediate_size=24),
]


def layout(architecture: ArchitectureSpec) -> str:
    return architecture.layout


@pytest.mark.parametrize("architecture", LAYOUTS, ids=layout)
def test_at_the_start_the_logits_are_those_of_the_base_bit_for_bit(architecture: ArchitectureSpec) -> None:
    model = tiny_hybrid(architecture, awake=False)
    tokens, several = some_tokens(2, CHUNK), some_tokens(2, 3 * CHUNK)
    with nullcontext() if EXACT or architecture.layout == "gpt2" else sdpa_kernel(SDPBackend.MATH):
        assert torch.equal(model(tokens).logits, model.base.network(tokens).logits)
        alone = model.base.network(several.reshape(6, CHUNK)).logits.reshape(2, 3 * CHUNK, -1)
        assert torch.equal(model(several).logits, alone)


@pytest.mark.parametrize("layers", [None, (0, 2, 3)])
@pytest.mark.parametrize("window_size", [1, 6, 30])
def test_nothing_matters_from_beyond_the_reach(window_size: int, layers: tuple[int, ...] | None) -> None:
    """Sidecars reach into the chunk before, which the base has seen from its start, where sidecars below reach on."""
    architecture = Qwen2Architecture(**ROTARY, num_layers=4)
    mixer = MixerSpec(num_heads=2, head_dim=4, window_size=window_size)
    spec = tiny_spec(architecture, mixer).model_copy(update={"chunk_size": 20, "layers": layers})
    model = Hybrid(spec, random_backbone(architecture)).double()
    for layer in model.sidecars:
        torch.nn.init.normal_(model.sidecar(layer).output.weight, std=2.0)
        torch.nn.init.normal_(model.sidecar(layer).conv.weight, std=0.5)
    kept: list[torch.Tensor] = []
    embedding = model.base.network.get_input_embeddings()
    embedding.register_forward_hook(lambda _module, _inputs, output: kept.append(output.requires_grad_()))
    tokens = some_tokens(1, 20 * (1 + 8))
    model(tokens, disabled={"fast_weights"}).logits[:, -20:].square().sum().backward()
    (vectors,) = kept
    assert vectors.grad is not None
    touched = vectors.grad.reshape(tokens.shape[1], -1).abs().sum(-1).nonzero()
    looked_back = tokens.shape[1] - 20 - int(touched[0])
    receptive_field = model.receptive_field({"fast_weights"})
    assert receptive_field is not None
    assert 0 < looked_back <= receptive_field <= 8 * 20
    assert model.receptive_field({"fast_weights", "window"}) == 0
    assert model.receptive_field() is None


@pytest.mark.parametrize("architecture", LAYOUTS, ids=layout)
def test_pieces_give_what_the_whole_gives(architecture: ArchitectureSpec) -> None:
    model = tiny_hybrid(architecture)
    tokens = some_tokens(2, 5 * CHUNK + 3)
    with torch.no_grad():
        whole = model(tokens)
        state, parts = None, []
        for part in tokens.split(3, dim=1):
            output = model(part, state)
            state = HybridState.from_tensors(output.state.tensors())
            parts.append(output.logits)
    assert relative_error(torch.cat(parts, dim=1), whole.logits) <= SIDECAR_SPLIT
    assert state is not None and state.sizes() == {"window": 5, "cache": 3} and state.position == tokens.shape[1]


@settings(max_examples=12)  # each costs two passes over 300 tokens, piece by piece
@given(cuts=st.lists(st.integers(0, 300), max_size=8))
def test_any_split_of_300_tokens_equals_the_whole(cuts: list[int]) -> None:
    torch.manual_seed(0)
    model = tiny_hybrid()
    tokens = some_tokens(1, 300)
    with torch.no_grad():
        whole = model(tokens).logits
        state, parts = None, []
        edges = [0, *sorted(cuts), 300]
        for first, last in pairwise(edges):
            output = model(tokens[:, first:last], state)
            state = output.state
            parts.append(output.logits)
            assert all(reading.isfinite() for reading in output.readings.values())
    assert relative_error(torch.cat(parts, dim=1), whole) <= SIDECAR_SPLIT


def test_the_base_sees_one_chunk_and_the_sidecars_see_across() -> None:
    model = tiny_hybrid()
    tokens = some_tokens(1, 2 * CHUNK)
    edited = tokens.clone()
    edited[:, 0] = (edited[:, 0] + 1) % 256
    second = slice(CHUNK, None)
    both = {"fast_weights", "window"}
    carried = [model(t).logits[:, second] for t in (tokens, edited)]
    assert not torch.equal(*carried)
    base_alone = [model(t, disabled=both).logits[:, second] for t in (tokens, edited)]
    # The short convolution still hands the last tokens on, and an edit of the first one is beyond its reach.
    assert torch.equal(*base_alone)


@pytest.mark.parametrize("switch", Hybrid.switches)
def test_every_switch_changes_the_output(switch: str) -> None:
    model = tiny_hybrid()
    tokens = some_tokens(1, 3 * CHUNK)
    assert not torch.allclose(model(tokens, disabled={switch}).logits, model(tokens).logits)


def test_later_tokens_change_nothing_before_them_and_rows_nothing_beside_them() -> None:
    model = tiny_hybrid()
    tokens = some_tokens(3, 3 * CHUNK)
    edited = tokens.clone()
    edited[1, CHUNK + 2 :] = (edited[1, CHUNK + 2 :] + 1) % 256
    before, after = model(tokens).logits, model(edited).logits
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert torch.equal(before[1, : CHUNK + 2], after[1, : CHUNK + 2])
    assert not torch.equal(before[1], after[1])


def loss_through_chunks(model: Hybrid, detach: bool = False) -> torch.Tensor:
    """Loss of the last of four chunks, fed one at a time."""
    tokens, state = some_tokens(2, 4 * CHUNK + 1), None
    for chunk in tokens[:, : 3 * CHUNK].split(CHUNK, dim=1):
        state = model(chunk, state).state
        state = state.detached() if detach else state
    return lm_loss(model, tokens[:, 3 * CHUNK :], state)[0]


def gradients(model: Hybrid) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_gradients_flow_through_the_carried_state_until_it_is_detached() -> None:
    model = tiny_hybrid().double()
    loss_through_chunks(model).backward()
    attached = gradients(model)
    model.zero_grad()
    tokens = some_tokens(2, 4 * CHUNK + 1)
    at_once = model(tokens[:, :-1]).logits[:, 3 * CHUNK :]
    torch.nn.functional.cross_entropy(at_once.flatten(0, 1), tokens[:, 3 * CHUNK + 1 :].flatten()).backward()
    for name, gradient in gradients(model).items():
        assert relative_error(attached[name], gradient) <= 1e-10, name
    model.zero_grad()
    loss_through_chunks(model, detach=True).backward()
    write = "sidecars.0.memory.gates.write.weight"
    assert relative_error(gradients(model)[write], attached[write]) > 0.01


@pytest.mark.parametrize("length", [CHUNK, 3 * CHUNK, 3 * CHUNK + 5])
def test_recomputed_activations_give_the_same_gradients(length: int) -> None:
    model = tiny_hybrid()
    tokens = some_tokens(2, length + 1)
    found = []
    for recompute in (False, True):
        model.recompute_activations = recompute
        model.zero_grad()
        first = model(tokens[:, :5])
        loss = lm_loss(model, tokens[:, 5:], first.state)[0] + first.logits.square().mean()
        loss.backward()
        found.append(gradients(model))
    kept, recomputed = found
    assert kept.keys() == recomputed.keys() == {name for name, _ in model.named_parameters()}
    assert all(torch.equal(kept[name], recomputed[name]) for name in kept)


def test_only_sidecars_train_and_the_base_stays_bit_for_bit() -> None:
    model = tiny_hybrid(awake=False)
    before = {name: tensor.clone() for name, tensor in model.base.network.state_dict().items()}
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for seed in range(4):
        optimizer.zero_grad()
        lm_loss(model.train(), some_tokens(2, 3 * CHUNK + 1, seed))[0].backward()
        optimizer.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.base.network.state_dict().items())
    assert not model.base.network.training
    assert content_hash(model.base.network) == model.base.sha256
    assert all(not torch.equal(p, start[name]) for name, p in model.named_parameters())


def test_the_base_is_not_among_the_parameters() -> None:
    model = tiny_hybrid()
    assert all(name.startswith("sidecars.") for name, _ in model.named_parameters())
    assert all(name.startswith("sidecars.") or name == "_extra_state" for name in model.state_dict())


def test_the_two_gates_of_the_memory_have_a_rate_of_their_own() -> None:
    model = tiny_hybrid()
    optimizer = build_optimizer(model, AdamWSpec(rate_factors=RateFactors(memory_gates=5.0)))
    factors = {id(p): group["rate_factor"] for group in optimizer.param_groups for p in group["params"]}
    faster = {name for name, p in model.named_parameters() if factors[id(p)] == 5.0}
    parts = [f"{gate}.{part}" for gate in ("decay", "write") for part in ("weight", "bias")]
    assert faster == {f"sidecars.{layer}.memory.gates.{part}" for layer in (0, 1) for part in parts}


def test_readings_name_each_layer_and_are_never_nan() -> None:
    model = tiny_hybrid()
    wanted = {"gate_mean", "output_share", "decay", "state_norm", "write_strength"}
    for length in (1, CHUNK - 1, CHUNK, 2 * CHUNK + 3):
        readings = model(some_tokens(1, length)).readings
        shares = {source: readings.pop(f"memory/gate_share/{source}") for source in ("window", "fast_weights")}
        assert torch.isclose(sum(shares.values(), torch.zeros(())), torch.ones(()))
        assert torch.isclose(
            shares["window"], (readings["memory/gate_mean/layer_0"] + readings["memory/gate_mean/layer_1"]) / 2
        )
        assert set(readings) == {f"memory/{name}/layer_{layer}" for name in wanted for layer in (0, 1)}
        assert all(reading.isfinite() and not reading.requires_grad for reading in readings.values())
    decay = model(some_tokens(1, 9)).readings["memory/decay/layer_0"]
    assert torch.isclose(decay, torch.tensor([6.0, 12.0]).sigmoid().mean())
    silent = tiny_hybrid(awake=False)(some_tokens(1, 9)).readings
    assert silent["memory/output_share/layer_0"] == 0


def test_no_tokens_give_no_logits_and_leave_the_state() -> None:
    model = tiny_hybrid()
    state = model(some_tokens(2, 5)).state
    output = model(some_tokens(2, 0), state)
    assert output.logits.shape == (2, 0, 256)
    assert output.state is state
    assert output.readings == {}


def test_the_last_score_alone_equals_the_last_of_all() -> None:
    model = tiny_hybrid()
    tokens = some_tokens(2, 4 * CHUNK + 3)
    last = model.advance(tokens, score="last").logits
    assert last.shape == (2, 1, 256)
    assert relative_error(last, model(tokens).logits[:, -1:]) <= SIDECAR_SPLIT


def test_wrong_states_are_refused_in_one_line() -> None:
    model = tiny_hybrid()
    with pytest.raises(ValueError, match="belongs to a batch of 1, but this batch has 2 rows"):
        model(some_tokens(2, 3), model.initial_state(1))
    with pytest.raises(ValueError, match="wings is no memory of this model, it has fast_weights, window"):
        model(some_tokens(2, 3), disabled={"wings"})
    with pytest.raises(ValueError, match=r"lacks position, sidecar\.0\.conv_state, sidecar\.0\.fast_weights"):
        HybridState.from_tensors({})
    state = model(some_tokens(2, 3)).state
    tensors = {name: tensor for name, tensor in state.tensors().items() if name != "base.1.values"}
    with pytest.raises(ValueError, match=r"lacks base\.1\.values"):
        HybridState.from_tensors(tensors)


def test_weights_of_another_base_are_refused() -> None:
    model = tiny_hybrid()
    other = tiny_hybrid(Qwen2Architecture(**ROTARY, norm_eps=1e-5))
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        next(other.base.network.parameters()).add_(1)
    changed = Hybrid(
        model.spec, type(model.base).of(other.base.network, "changed", other.base.new_cache, other.base.cache_name)
    )
    with pytest.raises(CheckpointError, match=r"trained on a base with the sum \w{16}…, but changed has"):
        changed.load_state_dict(model.state_dict())


def test_casting_takes_the_base_along() -> None:
    model = tiny_hybrid().double()
    assert {tensor.dtype for tensor in model.base.network.parameters()} == {torch.float64}
    assert model(some_tokens(1, 9)).logits.dtype == torch.float64
