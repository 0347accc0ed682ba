"""Dreams are as asked for, follow from their generator alone, and leave torch's where they were."""

from typing import Any

import pytest
import torch
from torch import Tensor

from cortexzoo.specs.sleep import Dreaming, GeneratedSleep, NoiseSleep, ReplaySleep
from cortexzoo.zoo.training.sleep.dreams import Dream, draw, together
from cortexzoo.zoo.training.sleep.reservoir import Example, Reservoir
from tests.zoo.training.tiny import tiny_model

MODEL = tiny_model()
NOISE = NoiseSleep(batch_size=3, length=10)
GENERATED = GeneratedSleep(batch_size=3, length=10, prompt_length=4)


def example(start: int, length: int) -> Example:
    return Example(torch.arange(start, start + length + 1), torch.arange(length) % 2 == 0)


EXAMPLES = Reservoir(8, (example(10, 4), example(50, 7)), 2)


def drawn(spec: Dreaming, seed: int = 0, model: Any = MODEL) -> Dream:
    return draw(spec, model, EXAMPLES, model.initial_state, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("spec", [NOISE, GENERATED, ReplaySleep(batch_size=3)], ids=lambda spec: spec.kind)
def test_dreams_follow_from_their_generator_alone(spec: Dreaming) -> None:
    before = torch.get_rng_state()
    first = drawn(spec)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(17)
    assert torch.equal(drawn(spec).tokens, first.tokens)
    assert any(not same(drawn(spec, seed).tokens, first.tokens) for seed in (1, 2, 3))


def same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


def test_noise_covers_the_vocabulary_evenly() -> None:
    dream = drawn(NoiseSleep(batch_size=64, length=999))
    assert dream.tokens.shape == (64, 1000) and dream.scored is None and dream.real is None
    counts = torch.bincount(dream.tokens.flatten(), minlength=256).double()
    # 250 each on average: five standard deviations.
    assert (counts - 250).abs().max() < 5 * 250**0.5


def test_generated_dreams_are_what_the_model_says_and_the_prompt_is_not_scored() -> None:
    class OnlySeven(type(MODEL)):  # type: ignore[misc]
        def forward(self, *arguments: Any, **named: Any) -> Any:
            output = super().forward(*arguments, **named)
            output.logits[...] = -torch.inf
            output.logits[..., 7] = 0.0
            return output

    dream = drawn(GENERATED, model=OnlySeven())
    assert dream.tokens.shape == (3, 11) and dream.scored is not None
    assert (dream.tokens[:, 4:] == 7).all()
    assert not (dream.tokens[:, :4] == 7).all()
    assert dream.scored.tolist() == [[False] * 3 + [True] * 7] * 3


def test_examples_of_several_lengths_are_padded_on_the_right() -> None:
    dream = together(EXAMPLES.examples)
    assert dream.scored is not None and dream.real is not None
    assert dream.tokens[0].tolist() == [10, 11, 12, 13, 14, 0, 0, 0]
    assert dream.real.sum(1).tolist() == [4, 7]
    assert dream.scored[0].tolist() == [True, False, True, False, False, False, False]
    assert dream.tokens[1].tolist() == list(range(50, 58))


def test_nothing_is_replayed_out_of_an_empty_reservoir() -> None:
    with pytest.raises(ValueError, match="at least one example to replay, got none"):
        draw(ReplaySleep(), MODEL, Reservoir(8), MODEL.initial_state, torch.Generator())


def test_replayed_rows_are_whole_examples() -> None:
    dream = drawn(ReplaySleep(batch_size=20))
    rows = {tuple(row) for row in dream.tokens.tolist()}
    assert rows == {tuple(row) for row in together(EXAMPLES.examples).tokens.tolist()}
