"""A sidecar's step for one token: equal to its token loop and to its usual form, and taken only where it may be."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from cortexzoo.specs.mixer import MixerSpec
from cortexzoo.specs.slow_store import ProductStore
from cortexzoo.zoo.generation import generate
from cortexzoo.zoo.models.hybrid.block import FAST_WEIGHTS, WINDOW, Sidecar
from cortexzoo.zoo.models.hybrid.block_token_loop import sidecar_token_loop
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.hybrid.one_token import FoldedWeights
from cortexzoo.zoo.models.hybrid.state import SidecarState
from tests.tolerances import GATED_DELTA, SIDECAR_SPLIT
from tests.zoo.models.hybrid.test_block import FIELDS, MIXERS, inputs
from tests.zoo.models.hybrid.tiny import CHUNK, awake_sidecar, relative_error, some_tokens, tiny_hybrid


@torch.no_grad()
def by_steps(sidecar: Sidecar, x: Tensor, state: SidecarState) -> tuple[Tensor, SidecarState]:
    outputs = []
    with sidecar.fixed():
        for token in x.split(1, dim=1):
            out, state, readings = sidecar(token, state)
            assert readings == {}
            outputs.append(out)
    return torch.cat(outputs, dim=1), state


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("name", MIXERS)
def test_outputs_and_state_equal_those_of_the_token_loop(name: str, rows: int) -> None:
    sidecar = awake_sidecar(MIXERS[name]).double()
    x = inputs(21, rows)
    with torch.no_grad():
        expected, end, _ = sidecar_token_loop(sidecar, x, sidecar.initial_state(rows))
    out, after = by_steps(sidecar, x, sidecar.initial_state(rows))
    assert relative_error(out, expected) <= GATED_DELTA[torch.float64].values
    for field in FIELDS:
        assert getattr(after, field).shape == getattr(end, field).shape
        assert relative_error(getattr(after, field), getattr(end, field)) <= GATED_DELTA[torch.float64].values


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_goes_on_where_a_call_with_many_tokens_ended(dtype: torch.dtype) -> None:
    sidecar = awake_sidecar().to(dtype)
    x = inputs(40, dtype=torch.float32).to(dtype)
    with torch.no_grad():
        whole, end, _ = sidecar(x, sidecar.initial_state(2))
        _, state, _ = sidecar(x[:, :25], sidecar.initial_state(2))
    out, after = by_steps(sidecar, x[:, 25:], state)
    assert out.dtype == dtype and after.fast_weights.dtype == torch.float32
    assert relative_error(out.float(), whole[:, 25:].float()) <= max(SIDECAR_SPLIT, torch.finfo(dtype).eps)
    for field in FIELDS:
        assert relative_error(getattr(after, field), getattr(end, field)) <= SIDECAR_SPLIT


def test_the_start_of_a_memory_is_not_changed_in_place() -> None:
    sidecar, x = awake_sidecar(), inputs(3, dtype=torch.float32)
    with torch.no_grad():
        _, state, _ = sidecar(x, sidecar.initial_state(2))
    before = state.map(lambda tensor: tensor.clone())
    by_steps(sidecar, x, state)
    assert all(torch.equal(getattr(state, field), getattr(before, field)) for field in FIELDS)


@pytest.mark.parametrize("disabled", [WINDOW, FAST_WEIGHTS])
def test_a_memory_that_is_switched_off_stays_off(disabled: str) -> None:
    sidecar, x = awake_sidecar(), inputs(1, dtype=torch.float32)
    with torch.no_grad():
        expected, _, _ = sidecar(x, sidecar.initial_state(2), (disabled,))
        with sidecar.fixed():
            out, _, readings = sidecar(x, sidecar.initial_state(2), (disabled,))
            whole, _, _ = sidecar(x, sidecar.initial_state(2))
    assert torch.equal(out, expected) and readings
    assert not torch.allclose(out, whole)


def test_it_is_taken_for_single_tokens_of_fixed_weights_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    step = FoldedWeights.step
    monkeypatch.setattr(FoldedWeights, "step", lambda *given: steps.append(1) or step(*given))
    sidecar, x = awake_sidecar(), inputs(4, dtype=torch.float32)
    with torch.no_grad():
        sidecar(x[:, :1], sidecar.initial_state(2))
        with sidecar.fixed():
            sidecar(x, sidecar.initial_state(2))
            with torch.autocast("cpu", dtype=torch.bfloat16):
                sidecar(x[:, :1], sidecar.initial_state(2))
            assert not steps
            sidecar(x[:, :1], sidecar.initial_state(2))
            assert len(steps) == 1
        sidecar(x[:, :1], sidecar.initial_state(2))
    assert len(steps) == 1


def test_weights_are_no_longer_fixed_after_an_error() -> None:
    sidecar = awake_sidecar()
    fixed = sidecar.fixed()
    fixed.__enter__()
    assert sidecar._folded is not None
    assert not fixed.__exit__(ZeroDivisionError, ZeroDivisionError(), None), "the error goes on"
    assert sidecar._folded is None


def test_a_sidecar_with_a_slow_store_has_no_short_way() -> None:
    store = ProductStore(features=8)
    sidecar = Sidecar(MixerSpec(num_heads=2, head_dim=4), 12, store)
    with torch.no_grad(), sidecar.fixed():
        _, _, readings = sidecar(inputs(1, dtype=torch.float32), sidecar.initial_state(2))
    assert readings


def test_readings_of_a_call_are_those_of_the_pieces_that_have_them() -> None:
    model, tokens = tiny_hybrid(), some_tokens(2, CHUNK + 1)
    with torch.no_grad(), model.fixed_weights():
        whole = model(tokens).readings
        first = model(tokens[:, :CHUNK]).readings
    assert whole.keys() == first.keys() and len(whole) > 4
    assert all(torch.allclose(whole[name], first[name]) for name in whole)


@pytest.mark.parametrize("rows", [1, 2])
def test_a_hybrid_generates_the_same_tokens_with_it_and_without(rows: int) -> None:
    model = tiny_hybrid()
    prompt = some_tokens(rows, 11)
    with torch.no_grad():
        logits, state = [], model.read(prompt).state
        tokens = generate(model, prompt, 30, temperature=0)
        for token in tokens.split(1, dim=1):
            output = model(token, state)
            logits.append(output.logits)
            state = output.state
    assert tokens.unique().numel() > 3
    likeliest = torch.cat(logits, dim=1).argmax(-1)
    assert torch.equal(tokens[:, 1:], likeliest[:, :-1])
    assert isinstance(model, Hybrid) and all(model.sidecar(layer)._folded is None for layer in model.sidecars)


def test_while_weights_are_fixed_a_text_can_go_on_from_any_state_and_the_base_runs_alone() -> None:
    model = tiny_hybrid()
    prompt, tokens = some_tokens(1, CHUNK + 3), some_tokens(1, 4, seed=1)
    with torch.no_grad():
        alone = model.base.run(tokens, (), lambda _layer, _normed, hidden: hidden, (), keep_cache=False)[0]
        with model.fixed_weights():
            begun = model.read(prompt).state
            first = [model.read(token, begun) for token in tokens.split(1, dim=1)]
            after = [model.read(tokens[:, :1], output.state).logits for output in first]
            again = [model.read(token, begun) for token in tokens.split(1, dim=1)]
            in_turn = [model.read(tokens[:, :1], output.state).logits for output in reversed(again)]
            assert torch.equal(
                model.base.run(tokens, (), lambda _layer, _normed, hidden: hidden, (), keep_cache=False)[0], alone
            )
    assert all(torch.equal(a.logits, b.logits) for a, b in zip(first, again, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(after, reversed(in_turn), strict=True))
    assert not any(torch.equal(a, b) for a, b in pairwise(after))


def test_what_a_failed_call_left_is_not_read_on() -> None:
    model = tiny_hybrid()
    token = some_tokens(1, 1, seed=1)

    def broken(_layer: int, _normed: torch.Tensor, _hidden: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("broken")

    with torch.no_grad(), model.fixed_weights():
        begun = model.read(some_tokens(1, CHUNK + 3)).state
        expected = model.read(token, begun).logits
        begun = model.read(some_tokens(1, CHUNK + 3)).state
        with pytest.raises(RuntimeError, match="broken"):
            model.base.run(token, begun.cache, broken, model.spec.sidecar_layers, keep_cache=True)
        assert torch.equal(model.read(token, begun).logits, expected)
