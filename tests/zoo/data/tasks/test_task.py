"""Layout, streams, and one clear line for each gap that cannot be."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cortexzoo.zoo.data.tasks.batch import IGNORED
from cortexzoo.zoo.data.tasks.build import build_task
from cortexzoo.zoo.errors import DataError
from tests.zoo.data.tasks.shipped import NAMES, answers_of, spec_of, task_of


@given(st.sampled_from(NAMES), st.integers(0, 3), st.sampled_from((1, 7, 64, 100, 10_000)))
def test_a_stream_is_the_batch_in_pieces(name: str, gap: int, chunk_size: int) -> None:
    task = task_of(name)
    whole = task.batch("train", [4, 1, 9], gap)
    pieces = list(task.stream("train", [4, 1, 9], gap, max(chunk_size, task.length(gap) // 20)))
    for part in ("inputs", "mask", "labels"):
        assert torch.equal(torch.cat([getattr(piece, part) for piece in pieces], dim=1), getattr(whole, part))
    assert all(piece.num_answers == whole.num_answers for piece in pieces)


def test_labels_are_the_next_tokens_where_those_are_answers() -> None:
    task = task_of("kv")
    batch = task.batch("train", range(5), 1)
    tokens = batch.tokens.clone()
    labels = batch.labels
    assert (labels != IGNORED).sum() == 5 * 4
    rows, places = (labels != IGNORED).nonzero(as_tuple=True)
    assert torch.equal(labels[rows, places], batch.tokens[rows, places + 1])
    assert torch.equal(batch.mask, labels != IGNORED)
    for index, row in enumerate(labels):
        ((start, answer),) = answers_of(task.example("train", index, 1))
        assert row[start - 1 : start + 3].tolist() == answer
    labels.fill_(0)
    assert torch.equal(batch.tokens, tokens), "labels are no view of the tokens"


def test_a_million_tokens_of_gap_stream_in_the_memory_of_a_chunk() -> None:
    task = task_of("kv-tokens")
    gap = 1_000_000 // task.chunk_size
    tracemalloc.start()
    try:
        length = sum(piece.inputs.shape[1] for piece in task.stream("test", [0], gap, 4096))
        assert length == task.length(gap) > 1_000_000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@given(st.sampled_from(NAMES), st.integers(0, 300), st.integers(0, 50))
def test_gaps_in_tokens_are_exact(name: str, gap: int, index: int) -> None:
    task = task_of(name, "gap_unit=tokens")
    (facts, passage), (questions, _) = task.example("train", index, gap).placed
    assert questions - facts - len(passage) == gap


def test_facts_lie_at_every_place_that_they_fit() -> None:
    task = task_of("kv")
    for gap in (0, 1):
        starts = {task.example("train", index, gap).placed[0][0] for index in range(400)}
        room = task.length(0) - 63 if gap == 0 else 64 - 54
        assert starts == set(range(room + 1))


def test_documents_are_filled_up_before_the_facts() -> None:
    task, filled = task_of("kv-tokens"), task_of("kv-tokens", "gaps=[0, 4]", "document_chunks=9")
    for gap in (0, 1, 4):
        document, plain = filled.example("train", 3, gap), task.example("train", 3, gap)
        assert document.length == 9 * 64
        assert np.array_equal(document.distances, plain.distances)
        assert document.placed[0][0] - plain.placed[0][0] == document.length - plain.length


def test_one_line_for_a_gap_that_cannot_be() -> None:
    task = task_of("kv-tokens", "gaps=[0, 4]", "document_chunks=9")
    with pytest.raises(DataError, match=r"^task kv-tokens: a gap must be >= 0 chunks, got -1$"):
        task.batch("train", [0], -1)
    needs = r"^task kv-tokens: a gap of 8 chunks needs documents of 10 chunks of 64 tokens, but document_chunks is 9: "
    with pytest.raises(DataError, match=needs):
        task.stream("train", [0], 8)
    with pytest.raises(DataError, match="a gap of 16 chunks needs documents of 18 chunks"):
        build_task(spec_of("kv-tokens", "document_chunks=9"))


def test_one_line_for_a_gap_within_the_reach_of_the_model() -> None:
    task = task_of("kv-tokens")
    task.require_beyond(128, [2, 4])
    message = r"^task kv-tokens: a gap of 1 chunk lies within the 129 tokens .* take gaps of 3 or more$"
    with pytest.raises(DataError, match=message):
        task.require_beyond(129, [4, 1])
