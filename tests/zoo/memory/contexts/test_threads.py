"""Gradients of the context memory are the same bits with several threads, however these finish."""

from collections.abc import Iterator

import pytest
import torch

from cortexzoo.specs.memory import Contexts
from cortexzoo.zoo.memory.contexts.codes import CodeBook, contexts_of
from cortexzoo.zoo.memory.contexts.diary import UNKNOWN, Pages
from cortexzoo.zoo.memory.contexts.read_out import ContextReadOut

VOCAB, QUERIES, TIMES = 3, 2048, 12


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_two_threads_find_what_one_finds() -> None:
    """And share the queries: FAISS leaves all of them to one unless it is told otherwise."""
    torch.manual_seed(0)
    spec = Contexts(capacity=4096, list_tokens=2)
    tokens = torch.randint(VOCAB, (4096,), dtype=torch.int32)
    book = CodeBook(spec, VOCAB)
    index = Pages(tokens, torch.full_like(tokens, UNKNOWN)).index(book)
    asked = book.of_contexts(contexts_of(tokens[None, :QUERIES], tokens[None, :0], spec.context)[0])
    found = index.search(*asked, spec.top_k)
    torch.set_num_threads(1)
    assert torch.equal(index.search(*asked, spec.top_k), found)
    assert index._index.parallel_mode == 3


@pytest.mark.usefixtures("two_threads")
def test_every_backward_pass_gives_the_same_bits() -> None:
    torch.manual_seed(0)
    spec = Contexts(capacity=4096, list_tokens=2)
    tokens = torch.randint(VOCAB, (4096,), dtype=torch.int32)
    pages = Pages(tokens, torch.full_like(tokens, UNKNOWN))
    read_out = ContextReadOut(spec, VOCAB)
    torch.nn.init.normal_(read_out.lag)
    contexts = contexts_of(tokens[None, :QUERIES], tokens[None, :0], spec.context)
    weights = torch.randn(1, QUERIES, spec.top_k)

    def gradients() -> list[torch.Tensor]:
        found = read_out(contexts, torch.full((1, QUERIES), UNKNOWN), pages)
        return list(torch.autograd.grad((found.votes * weights).sum(), [read_out.run, read_out.lag]))

    first = gradients()
    for _ in range(TIMES):
        assert all(torch.equal(one, other) for one, other in zip(gradients(), first, strict=True))
