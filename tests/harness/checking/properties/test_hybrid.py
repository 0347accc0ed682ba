"""The analytic bound on fast weights, token by token; the mutants show the properties at work."""

import pytest
import torch

from cortexzoo.harness.checking.properties.hybrid import base_logits, bounded_norms, open_gates
from cortexzoo.specs.mixer import MixerSpec
from cortexzoo.zoo.models.hybrid.delta_memory import Gates
from tests.zoo.models.hybrid.tiny import CHUNK, awake_sidecar, some_tokens, tiny_hybrid


@pytest.mark.parametrize("negative_eigenvalues", [False, True])
def test_the_bound_is_the_recursion_over_all_tokens_of_all_calls(negative_eigenvalues: bool) -> None:
    mixer = MixerSpec(num_heads=2, head_dim=4, window_size=6, negative_eigenvalues=negative_eigenvalues)
    sidecar = awake_sidecar(mixer)
    x = torch.randn(1, 40, 12)
    state, expected = sidecar.initial_state(1), torch.zeros(1, 2, dtype=torch.float64)
    with torch.no_grad(), bounded_norms({"it": sidecar.memory}) as bounds:
        for piece in x.split([1, 22, 17], dim=1):
            _, _, values, _ = sidecar.queries_keys_values(piece, state.conv_state)
            log_decay, beta = sidecar.memory.gates(piece)
            for decay, strength, value in zip(log_decay[0].double(), beta[0].double(), values[0].double(), strict=True):
                kept, size = decay.exp(), value.norm(dim=-1)
                if negative_eigenvalues:
                    expected = kept * expected + strength * size
                else:
                    expected = (kept.square() * expected.square() + strength * size.square()).sqrt()
            _, state, _ = sidecar(piece, state)
            assert torch.allclose(bounds["it"], expected, rtol=1e-6)
            assert (state.fast_weights.flatten(2).norm(dim=-1) <= expected * (1 + 1e-5)).all()


def test_open_gates_are_open_whatever_the_hidden_units_have_learnt() -> None:
    gates = Gates(MixerSpec(num_heads=2, head_dim=4, write_threshold=0.05, write_width=3), 12)
    assert gates.write_from_hidden is not None
    torch.nn.init.constant_(gates.write_from_hidden.weight, -100.0)
    x = torch.randn(1, 40, 12, generator=torch.Generator().manual_seed(0))
    assert gates(x)[1].min() == 0
    open_gates(gates)
    log_decay, beta = gates(x)
    assert beta.min() > 0.99 and log_decay.exp().min() > 0.99


def test_the_base_alone_is_the_model_without_its_memories() -> None:
    model = tiny_hybrid()
    for length in (1, CHUNK, 2 * CHUNK + 3):
        tokens = some_tokens(2, length)
        alone = base_logits(model.base, tokens, CHUNK)
        assert torch.equal(alone, model(tokens, disabled=model.switches).logits)
        assert not torch.equal(alone, model(tokens).logits)
