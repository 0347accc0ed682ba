"""Every shipped task: answers follow from the whole text, never from what a base sees, and hang on the seed alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortexzoo.zoo.data.tasks.document import Noise
from cortexzoo.zoo.data.tasks.task import SPLITS
from tests.property.strategies import seeds
from tests.zoo.data.tasks.shipped import NAMES, answers_of, solved, task_of

indices = st.integers(0, 10_000)
splits = st.sampled_from(SPLITS)
chunk_sizes = st.sampled_from((16, 64, 100))
by_name = pytest.mark.parametrize("name", NAMES)


@by_name
@given(split=splits, index=indices, gap=st.integers(0, 5), chunk_size=chunk_sizes)
def test_answers_follow_from_the_text(name: str, split: str, index: int, gap: int, chunk_size: int) -> None:
    task = task_of(name, f"chunk_size={chunk_size}")
    document = task.example(split, index, gap)
    tokens = document.tokens.tolist()
    answers = answers_of(document)
    assert len(answers) == len(document.distances) > 0
    for start, answer in answers:
        assert solved(task, tokens[:start]) == answer


@by_name
@given(split=splits, index=indices, gap=st.integers(1, 5), chunk_size=chunk_sizes)
def test_the_gap_and_the_questions_never_tell(name: str, split: str, index: int, gap: int, chunk_size: int) -> None:
    task = task_of(name, f"chunk_size={chunk_size}")
    document = task.example(split, index, gap)
    tokens = document.tokens
    receptive_field = gap * chunk_size
    task.require_beyond(receptive_field, [gap])
    for (start, answer), distance in zip(answers_of(document), document.distances, strict=True):
        # Logits at start - 1 see `reach` tokens: their own and those before it.
        assert distance > receptive_field
        assert solved(task, tokens[start - receptive_field : start].tolist()) is None
        evidence = start - distance
        assert evidence // chunk_size + gap < start // chunk_size, "whole chunks lie between"
        # Further facts share their values' tokens with answers; noise and text share none.
        assert isinstance(document.noise, Noise) or task.spec.filler.kind == "mixed"
        assert not isinstance(document.noise, Noise) or not set(document.noise.tokens) & set(answer)


@by_name
@given(index=indices, gap=st.integers(0, 5))
def test_a_document_is_whole_chunks_and_one_target(name: str, index: int, gap: int) -> None:
    task = task_of(name)
    document = task.example("train", index, gap)
    assert document.length == task.length(gap)
    assert document.length % task.chunk_size == 0
    assert len(document.tokens) == document.length + 1
    assert document.tokens.min() >= 0 and document.tokens.max() < task.vocabulary.size
    assert document.answers[0] == document.answers[-1] == 0
    assert all(len(values) == len(document.distances) for values in document.slices.values())


@by_name
@given(seed=seeds, split=splits, index=indices, gap=st.integers(0, 3))
def test_a_document_follows_from_its_number(name: str, seed: int, split: str, index: int, gap: int) -> None:
    one, same = task_of.__wrapped__(name, seed=seed), task_of.__wrapped__(name, seed=seed)
    same.example(split, index + 1, gap)
    assert np.array_equal(one.example(split, index, gap).tokens, same.example(split, index, gap).tokens)


@by_name
def test_seeds_splits_and_numbers_give_other_facts(name: str) -> None:
    drawn = [
        task_of(name, seed=seed).example(split, index, 1).placed[0][1].tokens.tolist()
        for seed in (0, 1)
        for split in SPLITS
        for index in range(20)
    ]
    assert len({tuple(tokens) for tokens in drawn}) == len(drawn)


@by_name
def test_facts_and_questions_are_the_same_at_every_gap(name: str) -> None:
    task = task_of(name)
    for gap in (1, 5, 40):
        for (_, passage), (_, other) in zip(
            task.example("test", 3, gap).placed, task.example("test", 3, 0).placed, strict=True
        ):
            assert np.array_equal(passage.tokens, other.tokens)
            assert np.array_equal(passage.answers, other.answers)


@by_name
def test_answers_are_drawn_evenly(name: str) -> None:
    """A guesser that has counted the answers of many documents is no better than chance on others."""
    task = task_of(name)
    train, held_out = (
        [tuple(answer) for index in range(300) for _, answer in answers_of(task.example(split, index, 0))]
        for split in ("train", "test")
    )
    likeliest = max(set(train), key=train.count)
    chance, count = task.chance().exact, len(held_out)
    hits = sum(answer == likeliest for answer in held_out)
    assert hits <= chance * count + 5 * (chance * count) ** 0.5 + 1


@pytest.mark.parametrize("name", ["kv", "kv-tokens", "overwrite", "mqar-64-4", "passkey"])
def test_distances_lead_from_an_answer_to_the_last_token_that_tells_it(name: str) -> None:
    task = task_of(name)
    for index in range(30):
        document = task.example("train", index, 2)
        for (start, answer), distance in zip(answers_of(document), document.distances, strict=True):
            end = start - int(distance) + 1
            assert document.tokens[end - len(answer) : end].tolist() == answer


def test_overwritten_keys_want_the_last_value() -> None:
    task = task_of("overwrite")
    rebound = []
    for index in range(50):
        document = task.example("train", index, 2)
        facts = document.placed[0][1].tokens.tolist()
        for (start, answer), is_rebound in zip(answers_of(document), document.slices["rebound"], strict=True):
            key = document.tokens[start - 1]
            values = [value for bound, value in zip(facts[::2], facts[1::2], strict=True) if bound == key]
            assert len(values) == 1 + is_rebound
            assert values[-1] == answer[0] and values.count(answer[0]) == 1
            rebound.append(is_rebound)
    assert np.mean(rebound) == 0.5


@pytest.mark.parametrize(("name", "length", "pairs"), [("mqar-64-4", 64, 4), ("mqar-256-16", 256, 16)])
def test_mqar_without_a_gap_is_laid_out_as_in_the_paper(name: str, length: int, pairs: int) -> None:
    task = task_of(name)
    nearest = []
    for index in range(200):
        document = task.example("train", index, 0)
        tokens = document.tokens
        assert document.length == length
        assert (tokens[: 2 * pairs : 2] < 4096).all() and (tokens[1 : 2 * pairs : 2] >= 4096).all()
        starts = np.array([start for start, _ in answers_of(document)])
        assert len(starts) == pairs and (starts % 2 == 1).all()
        assert sorted(tokens[starts - 1]) == sorted(tokens[: 2 * pairs : 2])
        nearest.append(starts.min() == 2 * pairs + 1)
    # With the power 0.01 the first place has a fourth of the weight or more.
    assert np.mean(nearest) > 0.5


def test_a_passkey_lies_at_every_depth() -> None:
    task = task_of("passkey")
    documents = [task.example("train", index, 2) for index in range(100)]
    depths = [int(document.slices["depth"][0]) for document in documents]
    assert set(depths) == {0, 1, 2, 3}
    assert [document.placed[0][0] // 64 for document in documents] == depths
