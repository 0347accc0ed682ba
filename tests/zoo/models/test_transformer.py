"""The control: causal, and a cache that changes nothing."""

from itertools import product

import pytest
import torch
from torch import Tensor

from cortexzoo.specs.variant import TransformerSpec
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.models import transformer
from cortexzoo.zoo.models.transformer import Layer, Transformer, TransformerState, _rotation, largest_logit
from tests.tolerances import EXACT_FORM

READING = "stability/max_attention_logit"

SPEC = TransformerSpec(name="small", vocab_size=13, hidden_size=16, num_heads=2, num_layers=2, intermediate_size=20)


def built() -> Transformer:
    torch.manual_seed(0)
    model = build_model(SPEC).double()
    assert isinstance(model, Transformer)
    return model


@pytest.mark.parametrize("split", [1, 7, 19])
def test_a_split_sequence_with_its_cache_equals_the_whole(split: int) -> None:
    model = built()
    tokens = torch.randint(13, (2, 20), generator=torch.Generator().manual_seed(1))
    whole = model(tokens)
    first = model(tokens[:, :split])
    state = TransformerState.from_tensors(first.state.tensors())
    second = model(tokens[:, split:], state)
    assert (torch.cat([first.logits, second.logits], dim=1) - whole.logits).abs().max() <= EXACT_FORM
    assert second.state.sizes() == {"cache": 20}


def test_later_tokens_change_nothing_before_them_and_positions_matter() -> None:
    model = built()
    tokens = torch.randint(13, (1, 20), generator=torch.Generator().manual_seed(2))
    edited = tokens.clone()
    edited[:, 12:] = (edited[:, 12:] + 1) % 13
    before, after = model(tokens).logits, model(edited).logits
    assert torch.equal(before[:, :12], after[:, :12])
    assert not torch.allclose(before[:, 12:], after[:, 12:])
    swapped = tokens[:, [1, 0, *range(2, 20)]]
    assert tokens[0, 0] != tokens[0, 1]
    assert not torch.allclose(model(swapped).logits[:, 5], before[:, 5])


def test_another_batch_size_or_a_switch_that_there_is_none_of_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="window is no memory of this model, it has none that can be switched off"):
        built()(torch.zeros(1, 3, dtype=torch.long), None, ("window",))
    with pytest.raises(ValueError, match="belongs to a batch of 1, but this batch has 2 rows"):
        built()(torch.zeros(2, 3, dtype=torch.long), built().initial_state(1))
    with pytest.raises(ValueError, match="lacks keys"):
        TransformerState.from_tensors({})


@pytest.mark.parametrize("seen", [0, 5])
def test_the_largest_attention_logit_is_that_of_the_token_loop(seen: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = built().eval().requires_grad_(False)
    tokens = torch.randint(13, (2, 12), generator=torch.Generator().manual_seed(3))
    state = model(tokens[:, :seen]).state if seen else None
    x, largest = model.embedding(tokens), []
    for layer in model.layers:
        assert isinstance(layer, Layer)
        heads = layer.query_key_value(layer.attention_norm(x)).unflatten(-1, (3, 2, 8))
        for row, head, now in product(range(2), range(2), range(seen, 12)):
            asked = turned(heads[row, now, 0, head], now)
            keys = [turned(heads[row, then, 1, head], then) for then in range(now + 1)]
            largest += [float(asked @ key) / 8**0.5 for key in keys]
        rotation = _rotation(0, 12, 8, SPEC.rope_base, x)
        empty = x.new_zeros(2, 2, 0, 8)
        x = layer(x, rotation, empty, empty)[0]
    readings = model(tokens[:, seen:], state).readings
    assert readings.keys() == {READING}
    assert float(readings[READING]) == pytest.approx(max(largest), rel=1e-6)
    monkeypatch.setattr(transformer, "QUERIES_AT_A_TIME", 3)
    assert torch.equal(model(tokens[:, seen:], state).readings[READING], readings[READING])


@pytest.mark.parametrize(("before", "time"), [(0, 1), (0, 4), (3, 1), (2, 5)])
def test_no_later_key_counts(before: int, time: int) -> None:
    generator = torch.Generator().manual_seed(before)
    for _ in range(20):
        query = torch.randn(1, 1, time, 2, generator=generator)
        keys = torch.randn(1, 1, before + time, 2, generator=generator)
        visible = [query[0, 0, t] @ keys[0, 0, s] for t in range(time) for s in range(before + t + 1)]
        found = largest_logit(query, keys)
        assert found is not None
        assert float(found) == pytest.approx(float(max(visible)) / 2**0.5, rel=1e-5)


def test_training_is_spared_the_reading() -> None:
    model = built()
    tokens = torch.randint(13, (2, 12), generator=torch.Generator().manual_seed(3))
    whole = model.eval()(tokens)
    assert model(tokens[:, :0]).readings == {}, "nothing asks"
    trained = model.train()(tokens)
    assert trained.readings == {}
    assert torch.equal(trained.logits, whole.logits)


def turned(vector: Tensor, position: int) -> Tensor:
    """Each pair (x_i, x_{i + 4}) as a complex number, turned by the angle of its position."""
    rates = torch.tensor([SPEC.rope_base ** (-i / 4) for i in range(4)], dtype=torch.float64)
    pairs = torch.complex(vector[:4], vector[4:]) * torch.polar(torch.ones(4, dtype=torch.float64), position * rates)
    return torch.cat([pairs.real, pairs.imag])
