"""A few learned numbers read at many places, against plain indexing and against the gradient of an embedding."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from cortexzoo.zoo.ops.lookup import _LookedUp, added_at, looked_up


def read_and_gradient(table: Tensor, index: Tensor, weights: Tensor, read: object) -> tuple[Tensor, Tensor]:
    learned = table.clone().requires_grad_()
    found = read(learned, index)  # type: ignore[operator]
    (gradient,) = torch.autograd.grad((found * weights).sum(), learned)
    return found.detach(), gradient


@given(st.integers(1, 30), st.lists(st.integers(0, 9), min_size=0, max_size=2), st.integers(0, 99))
def test_it_is_plain_indexing(entries: int, shape: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(entries, generator=generator, dtype=torch.float64)
    index = torch.randint(entries, (*shape, 4), generator=generator)
    weights = torch.randn(index.shape, generator=generator, dtype=torch.float64)
    found, gradient = read_and_gradient(table, index, weights, looked_up)
    naive, naive_gradient = read_and_gradient(table, index, weights, lambda learned, places: learned[places])
    assert torch.equal(found, naive)
    torch.testing.assert_close(gradient, naive_gradient, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("threads", [1, 2])
def test_its_gradient_has_the_bits_of_an_embedding_whatever_the_threads(threads: int) -> None:
    generator = torch.Generator().manual_seed(0)
    table, index = torch.randn(25, generator=generator), torch.randint(25, (1024, 32), generator=generator)
    weights = torch.randn(index.shape, generator=generator)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        _, gradient = read_and_gradient(table, index, weights, looked_up)
    finally:
        torch.set_num_threads(before)
    embedding = lambda learned, places: F.embedding(places, learned[:, None])[..., 0]  # noqa: E731
    _, embedded = read_and_gradient(table, index, weights, embedding)
    assert torch.equal(gradient, embedded)


def test_rows_are_added_where_the_index_says_in_their_order() -> None:
    generator = torch.Generator().manual_seed(0)
    rows, given_rows = torch.randn(5, 3, generator=generator), torch.randn(40, 3, generator=generator)
    index = torch.randint(5, (40,), generator=generator)
    expected = rows.clone()
    for place, row in zip(index.tolist(), given_rows, strict=True):
        expected[place] += row
    assert torch.equal(added_at(rows, index, given_rows), expected)


class OnACard(Tensor):
    """A tensor that takes itself for one on a card: what is computed there, without one."""

    is_cuda = True


def test_the_sums_of_a_card_are_those_of_the_processor() -> None:
    generator = torch.Generator().manual_seed(0)
    index, given_rows = torch.randint(6, (4, 9), generator=generator), torch.randn(4, 9, generator=generator)
    saved = SimpleNamespace(saved_tensors=(index,), entries=7)
    expected, _ = _LookedUp.backward(saved, given_rows)
    found, none = _LookedUp.backward(saved, given_rows.as_subclass(OnACard))
    assert none is None and expected.shape == (7,) and float(expected[6]) == 0
    torch.testing.assert_close(found.as_subclass(Tensor), expected)
    rows = torch.randn(7, 9, generator=generator)
    added = added_at(rows.as_subclass(OnACard), index[:, 0], given_rows)
    torch.testing.assert_close(added.as_subclass(Tensor), added_at(rows, index[:, 0], given_rows))
