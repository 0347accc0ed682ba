"""A nest of tensors and numbers as named tensors, and back."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cortexzoo.zoo.models.state_tree import named_tensors, tree_of

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.floats(allow_nan=False), st.just(torch.arange(3.0))
)
KEYS = st.text("abc_1", min_size=1, max_size=3)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.lists(inner, max_size=3).map(tuple), st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=8,
)


def same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@given(TREES)
def test_every_nest_comes_back(tree: Any) -> None:
    assert same(tree_of(named_tensors(tree)), tree)


@pytest.mark.parametrize("tree", [object(), {"a b": torch.zeros(1)}, {1: torch.zeros(1)}, [torch.Size([1])], "word"])
def test_what_cannot_be_saved_is_refused(tree: Any) -> None:
    with pytest.raises(ValueError, match="tensors and numbers in dictionaries"):
        named_tensors(tree)


@pytest.mark.parametrize(
    "names", [["other"], ["state.a", "state[0]"], ["state[1]"], ["state.a", "state"], ["state#word"], ["state.a b"], []]
)
def test_names_that_are_no_paths_are_refused(names: list[str]) -> None:
    with pytest.raises(ValueError, match="memory state"):
        tree_of({name: torch.zeros(1) for name in names})
