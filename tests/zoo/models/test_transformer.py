"""The control: causal, and a cache that changes nothing."""

import pytest
import torch

from specs.parameters import parameter_count
from specs.variant import TransformerSpec
from tests.tolerances import EXACT_FORM
from zoo.build import build_model
from zoo.models.transformer import Transformer, TransformerState

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


def test_a_changed_batch_size_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="belongs to a batch of 1, but this batch has 2 rows"):
        built()(torch.zeros(2, 3, dtype=torch.long), built().initial_state(1))
    with pytest.raises(ValueError, match="lacks keys"):
        TransformerState.from_tensors({})


def test_predicted_parameter_count_equals_the_built_one() -> None:
    assert parameter_count(SPEC) == sum(parameter.numel() for parameter in built().parameters())
