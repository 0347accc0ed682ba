"""Long-term memory: the index finds what is nearest, and a read learns through the compressor."""

import torch

from cortexzoo.specs.memory import CompressedStore, RawRing
from cortexzoo.zoo.memory.faiss_index import FlatIndex
from cortexzoo.zoo.memory.long_term import LongTermRing, LongTermStore
from cortexzoo.zoo.memory.short_term import ShortTermState

WIDTH = 16


def ring_with(reads: list[float]) -> ShortTermState:
    generator = torch.Generator().manual_seed(0)
    keys = torch.randn(1, len(reads), WIDTH, generator=generator)
    return ShortTermState(keys, keys + 1, torch.tensor([reads]))


def test_the_index_finds_the_nearest_codes_in_order() -> None:
    generator = torch.Generator().manual_seed(1)
    codes, queries = torch.randn(300, 8, generator=generator), torch.randn(40, 8, generator=generator)
    brute = torch.cdist(queries, codes).argsort(dim=1)[:, :5]
    assert torch.equal(FlatIndex(codes).search(queries, 5), brute)
    assert FlatIndex(codes[:3]).search(queries, 5).shape == (40, 3)


def test_the_ring_keeps_the_most_read_pairs_in_the_order_they_were_written() -> None:
    torch.manual_seed(0)
    memory = LongTermRing(RawRing(code_size=4, writes=2), WIDTH)
    short_term = ring_with([0.5, 3.0, 0.1, 2.0])
    state = memory.consolidate(short_term, memory.empty(torch.zeros(())))
    assert torch.equal(state.keys, short_term.keys[0, [1, 3]])
    assert torch.equal(state.values, short_term.values[0, [1, 3]])
    assert torch.allclose(state.codes, memory.compress(state.keys))


def test_the_ring_encodes_old_entries_anew_when_the_compressor_has_moved() -> None:
    torch.manual_seed(0)
    memory = LongTermRing(RawRing(code_size=4, writes=2), WIDTH)
    before = memory.consolidate(ring_with([1.0, 2.0]), memory.empty(torch.zeros(())))
    with torch.no_grad():
        memory.compress[0].weight.add_(0.5)
    after = memory.consolidate(ring_with([1.0, 2.0]), before)
    assert after.entries == 4
    assert not torch.allclose(after.codes[:2], before.codes)
    assert torch.allclose(after.codes, memory.compress(after.keys))


def test_every_parameter_of_the_ring_gets_a_gradient() -> None:
    torch.manual_seed(0)
    memory = LongTermRing(RawRing(code_size=4, top_k=2), WIDTH)
    state = memory.consolidate(ring_with([1.0, 2.0, 3.0]), memory.empty(torch.zeros(())))
    memory.read(torch.randn(6, WIDTH), state).square().sum().backward()
    disabled = [name for name, p in memory.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert disabled == []


def test_the_original_store_copies_what_was_read_three_times_and_copies_it_again() -> None:
    torch.manual_seed(0)
    memory = LongTermStore(CompressedStore(code_size=4), WIDTH)
    short_term = ring_with([1.0, 3.0, 2.0, 7.0])
    once = memory.consolidate(short_term, memory.empty(torch.zeros(())))
    twice = memory.consolidate(short_term, once)
    assert (once.entries, twice.entries) == (2, 4)
    assert torch.equal(twice.codes[2:], once.codes)
    assert torch.allclose(once.codes, memory.compress(short_term.keys[0, [1, 3]]))
    nothing = memory.consolidate(ring_with([1.0]), once)
    assert nothing.entries == 2
