"""The slow store: what a sleep moves is found again, nothing else is, and later sleeps leave it there."""

import pytest
import torch
from torch import Tensor

from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.specs.slow_store import ProductStore
from cortexzoo.zoo.errors import CheckpointError
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.hybrid.slow_store import Pairs, SlowStore
from cortexzoo.zoo.models.hybrid.slow_store_one_by_one import absorb_one_by_one
from cortexzoo.zoo.models.hybrid.state import HybridState
from cortexzoo.zoo.models.hybrid.unit import unit
from cortexzoo.zoo.models.hybrid.weights import with_slow_store
from tests.zoo.models.hybrid.random_base import random_backbone
from tests.zoo.models.hybrid.tiny import ARCHITECTURE, relative_error, some_tokens, tiny_hybrid, tiny_spec

CHANNELS, OUTPUTS = 24, 5
RIDGE, SAME = 3e-3, 0.9
SMALL = ProductStore(features=20)


def drawn(count: int, seed: int) -> Pairs:
    random = torch.Generator().manual_seed(seed)
    keys = unit(torch.randn(count, CHANNELS, generator=random, dtype=torch.float64))
    return Pairs(keys, torch.randn(count, OUTPUTS, generator=random, dtype=torch.float64))


def empty_store(**changes: int) -> SlowStore:
    return SlowStore(ProductStore(**{"features": 96, **changes}), CHANNELS, OUTPUTS).double()


@pytest.mark.parametrize("order", [2, 3, 4])
def test_a_sleep_at_once_is_a_sleep_pair_by_pair(order: int) -> None:
    store = empty_store(order=order)
    first, second = drawn(12, 0), drawn(9, 1)
    again = Pairs(torch.cat([second.keys, first.keys[:4], second.keys[:2]]), drawn(15, 2).values)
    for pairs in (first, again):
        expected = absorb_one_by_one(store, pairs, RIDGE, SAME)
        store.absorb(pairs, RIDGE, SAME)
        for name, tensor in expected._asdict().items():
            assert relative_error(getattr(store, name), tensor) < 1e-9, name
    assert int(store.pairs) == 12 + 13, "of the two keys that came twice in one sleep one counts"


@pytest.mark.parametrize("order", [2, 3, 4])
def test_features_have_unit_length_however_small_products_are(order: int) -> None:
    norms = empty_store(order=order).features(drawn(50, 3).keys).norm(dim=1)
    assert float((norms - 1).abs().max()) < 1e-6


def test_what_was_moved_is_found_and_nothing_else() -> None:
    store, pairs, others = empty_store(), drawn(20, 0), drawn(200, 1)
    assert store.absorb(pairs, RIDGE, SAME) == 20
    answer, novelty = store.answer(pairs.keys)
    assert relative_error(answer, pairs.values) < 0.02
    assert novelty.max() < 1e-3 and 0.3 < store.usual < 1
    assert store.answer(others.keys)[1].min() > store.threshold
    heads = others.keys.reshape(1, 200, 2, -1)
    assert torch.equal(store(heads), torch.zeros(1, 200, OUTPUTS, dtype=torch.float64))


def test_later_sleeps_keep_what_was_there_and_without_the_curvature_they_do_not() -> None:
    days = [drawn(8, seed) for seed in range(6)]
    kept, lost = empty_store(), empty_store()
    for day in days:
        kept.absorb(day, RIDGE, SAME)
        lost.absorb(day, RIDGE, SAME, keep_curvature=False)
    errors = [relative_error(store.answer(days[0].keys)[0], days[0].values) for store in (kept, lost)]
    assert errors[0] < 0.05 and errors[1] > 10 * errors[0]
    assert relative_error(lost.answer(days[-1].keys)[0], days[-1].values) < 0.05


def test_without_the_kept_curvature_that_of_the_last_sleep_alone_is_there() -> None:
    lost, last = empty_store(), empty_store()
    for seed in range(3):
        lost.absorb(drawn(8, seed), RIDGE, SAME, keep_curvature=False)
    last.absorb(drawn(8, 2), RIDGE, SAME)
    assert relative_error(lost.curvature, last.curvature) < 1e-9


def test_a_key_bound_anew_has_its_new_value_and_the_others_stay() -> None:
    store, pairs = empty_store(), drawn(20, 0)
    store.absorb(pairs, RIDGE, SAME)
    anew = Pairs(pairs.keys[:5], drawn(5, 7).values)
    for _ in range(3):
        assert store.absorb(anew, RIDGE, SAME) == 0
    answer = store.answer(pairs.keys)[0]
    assert relative_error(answer[:5], anew.values) < 0.05
    assert relative_error(answer[5:], pairs.values[5:]) < 0.1


def test_of_a_key_written_twice_in_a_sleep_the_last_value_counts() -> None:
    store, pairs, later = empty_store(), drawn(3, 0), drawn(3, 1)
    store.absorb(Pairs(pairs.keys.repeat(2, 1), torch.cat([pairs.values, later.values])), RIDGE, SAME)
    assert relative_error(store.answer(pairs.keys)[0], later.values) < 0.02


def test_a_sleep_without_anything_written_changes_nothing() -> None:
    store = empty_store()
    store.absorb(drawn(4, 0), RIDGE, SAME)
    before = {name: tensor.clone() for name, tensor in store.state_dict().items()}
    assert store.absorb(drawn(0, 0), RIDGE, SAME) == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in store.state_dict().items())


@pytest.mark.parametrize(("features", "order"), [(20, 2), (200, 2), (96, 4)])
def test_products_differ_and_follow_from_the_seed(features: int, order: int) -> None:
    chosen, again, other = (
        SlowStore(ProductStore(features=features, order=order, seed=seed), CHANNELS, OUTPUTS).channels
        for seed in (1, 1, 2)
    )
    assert chosen.shape == (order, features) and len(chosen.T.unique(dim=0)) == features
    assert torch.equal(chosen, again) and not torch.equal(chosen, other)


def filled_hybrid(seed: int = 0) -> Hybrid:
    """A store that knows about half of what it is asked, whatever the model's weights."""
    model = with_slow_store(tiny_hybrid(), SMALL)
    store = model.slow_store
    assert store is not None
    with torch.no_grad():
        store.weights.normal_(generator=torch.Generator().manual_seed(seed))
        store.novelty_weights.normal_(0, 0.006, generator=torch.Generator().manual_seed(seed))
        store.pairs.fill_(1)
    return model


@torch.no_grad()
def test_an_empty_store_changes_no_logit() -> None:
    model = tiny_hybrid()
    grown = with_slow_store(model, SMALL)
    tokens = some_tokens(2, 21)
    assert grown.switches == ("fast_weights", "window", "slow_store")
    assert torch.equal(grown(tokens).logits, model(tokens).logits)
    assert sum(p.numel() for p in grown.parameters()) == sum(p.numel() for p in model.parameters())


@torch.no_grad()
def test_a_text_in_pieces_is_the_whole_text() -> None:
    model = filled_hybrid()
    tokens = some_tokens(2, 29)
    whole = model(tokens)
    assert not torch.allclose(whole.logits, model(tokens, disabled={"slow_store"}).logits, atol=1e-3)
    logits: list[Tensor] = []
    state = model.initial_state(2)
    for piece in tokens.split([1, 3, 8, 1, 1, 15], dim=1):
        output = model(piece, HybridState.from_tensors(state.tensors()))
        state = output.state
        logits.append(output.logits)
    assert torch.allclose(torch.cat(logits, dim=1), whole.logits, atol=1e-5)
    for name, tensor in whole.state.tensors().items():
        assert torch.allclose(tensor, state.tensors()[name], atol=1e-5), name


@torch.no_grad()
def test_fast_weights_learn_what_the_store_does_not_expect() -> None:
    model = filled_hybrid()
    sidecar = model.sidecar(0)
    seen: list[Tensor] = []
    sidecar.memory.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[2]))
    tokens = some_tokens(1, 8)
    model(tokens, disabled={"slow_store"})
    model(tokens)
    assert sidecar.slow_store is not None
    expected: list[Tensor] = []
    sidecar.slow_store.register_forward_hook(lambda _, __, output: expected.append(output))
    model(tokens)
    plain, written = seen[0], seen[1]
    assert torch.equal(written[:, 0], plain[:, 0])
    assert torch.allclose(written[:, 1:], plain[:, 1:] - expected[0][:, :-1].reshape(plain[:, 1:].shape), atol=1e-6)


def test_the_store_is_saved_with_the_model_and_another_size_is_refused() -> None:
    model, fresh = filled_hybrid(), with_slow_store(tiny_hybrid(), SMALL)
    fresh.base = model.base
    fresh.load_state_dict(model.state_dict())
    tokens = some_tokens(1, 12)
    assert torch.equal(fresh(tokens).logits, model(tokens).logits)
    with pytest.raises((RuntimeError, CheckpointError)):
        with_slow_store(tiny_hybrid(), ProductStore(features=21)).load_state_dict(model.state_dict())


def test_the_store_stands_beside_the_layer_that_is_named() -> None:
    spec = HybridSpec.model_validate({**dict(tiny_spec()), "slow_store": ProductStore(features=20, layer=1)})
    model = Hybrid(spec, random_backbone(ARCHITECTURE))
    assert [model.sidecar(layer).slow_store is not None for layer in model.sidecars] == [False, True]
