"""Bytes of memories predicted from a spec are those of the states that the model gives."""

import pytest
import torch

from cortexzoo.specs.state_sizes import state_sizes
from cortexzoo.zoo.models.interface import MemoryState
from tests.specs.costed import COSTED, built, some_tokens

PART = {
    "short_term": "short-term memory",
    "long_term": "long-term memory",
    "position": "position",
    "keys": "key-value cache",
    "values": "key-value cache",
    "fast_weights": "fast weights",
    "conv_state": "short convolution",
    "window_keys": "window",
    "window_values": "window",
    "base": "cache of the base",
}
"""What a tensor of a state belongs to, by the first part of its name or, within a sidecar, the last."""


def bytes_of(state: MemoryState) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, tensor in state.tensors().items():
        parts = name.split(".")
        part = PART[parts[-1] if parts[0] == "sidecar" else parts[0]]
        found[part] = found.get(part, 0) + tensor.numel() * tensor.element_size()
    return {part: size for part, size in found.items() if size}


@pytest.mark.parametrize("name", COSTED)
@pytest.mark.parametrize("length", [17, 70])
def test_every_memory_has_the_bytes_that_its_spec_predicts(name: str, length: int) -> None:
    variant = COSTED[name]
    model, state = built(variant, rows=2)
    with torch.no_grad():
        after = model(some_tokens(2, length), state).state
    predicted = {size.name: size.bytes for size in state_sizes(variant, 2, length) if size.bytes}
    assert predicted == bytes_of(after)


@pytest.mark.parametrize("name", COSTED)
def test_at_most_is_what_a_long_text_reaches(name: str) -> None:
    variant = COSTED[name]
    sizes = {length: state_sizes(variant, 2, length) for length in range(1, 150)}
    for index, first in enumerate(sizes[1]):
        reached = [each[index].bytes for each in sizes.values()]
        assert first.at_most is None or first.at_most == max(reached)
        if name == "transformer":
            assert first.at_most is None and reached == sorted(set(reached))
