"""What stands between facts and questions: it looks as it should, any stretch of it, and never answers a question."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortexzoo.specs.filler import (
    FillerSpec,
    MixedFiller,
    NearKeys,
    NoiseFiller,
    OneFiller,
    PairsFiller,
    TextFiller,
    UnseenNoise,
)
from cortexzoo.specs.task import KeyValue, MemoryTask, Overwrite, TaskSpec, TokenPairs
from cortexzoo.zoo.data.tasks.build import build_task
from cortexzoo.zoo.data.tasks.task import Task
from tests.zoo.data.tasks.shipped import answers_of, solved

FILLERS: list[OneFiller] = [NoiseFiller(), UnseenNoise(), TextFiller(), PairsFiller(), NearKeys()]
TASKS: list[MemoryTask] = [KeyValue(num_queries=6), TokenPairs(), Overwrite()]
MADE: dict[str, Task] = {}

fillers = pytest.mark.parametrize("filler", FILLERS, ids=lambda filler: filler.kind)
tasks = pytest.mark.parametrize("kind", TASKS, ids=lambda kind: kind.kind)
indices = st.integers(0, 10_000)


def made(kind: MemoryTask, filler: FillerSpec) -> Task:
    spec = TaskSpec(name="filled", task=kind, filler=filler)
    return MADE.setdefault(spec.canonical_json(), build_task(spec, seed=0))


def _read(task: Task, before: list[int]) -> list[int] | None:
    """As `solved`, but a letter of the filler may stand right before a word."""
    if not isinstance(task.spec.task, KeyValue):
        return solved(task, before)
    text = bytes(before).decode()
    (value,) = re.findall(rf"{text[-4:]}([a-z]{{4}});", text)
    return list(value.encode())


def between(task: Task, index: int, gap: int) -> np.ndarray:  # type: ignore[type-arg]
    begin, end = task.gap_places(gap)
    return task.example("train", index, gap).cut(begin, end)[0]


@tasks
@fillers
@given(index=indices, gap=st.integers(0, 4))
def test_answers_follow_from_the_facts_whatever_fills_the_gap(
    filler: OneFiller, kind: MemoryTask, index: int, gap: int
) -> None:
    task = made(kind, filler)
    document = task.example("validation", index, gap)
    tokens = document.tokens.tolist()
    for start, answer in answers_of(document):
        assert _read(task, tokens[:start]) == answer


@tasks
@fillers
@given(index=indices, begin=st.integers(0, 300), length=st.integers(0, 60))
def test_any_stretch_is_that_of_the_whole(
    filler: OneFiller, kind: MemoryTask, index: int, begin: int, length: int
) -> None:
    document = made(kind, filler).example("train", index, 4)
    assert np.array_equal(document.cut(begin, begin + length)[0], document.tokens[begin : begin + length])


@tasks
@fillers
def test_facts_and_questions_are_the_same_with_every_filler(filler: OneFiller, kind: MemoryTask) -> None:
    plain, filled = (made(kind, chosen).example("train", 7, 2) for chosen in (NoiseFiller(), filler))
    for (start, one), (place, other) in zip(plain.placed, filled.placed, strict=True):
        assert start == place and np.array_equal(one.tokens, other.tokens)


def test_unseen_noise_shares_no_token_with_noise_or_facts() -> None:
    for kind in TASKS:
        seen = {int(token) for n in range(50) for token in made(kind, NoiseFiller()).example("train", n, 4).tokens}
        unseen = {int(token) for n in range(50) for token in between(made(kind, UnseenNoise()), n, 4)}
        assert len(unseen) >= 10 and not seen & unseen


def test_words_of_a_text_have_no_mark_of_a_fact() -> None:
    text = bytes(between(made(TASKS[0], TextFiller()), 3, 4).tolist()).decode()
    assert re.fullmatch("[a-zA-Z]+", text)
    assert any(word in re.split("[A-Z]", text) for word in ("the", "of", "a", "is", "to", "in"))


def test_the_letters_of_a_text_become_tokens_that_are_neither_keys_nor_values() -> None:
    tokens = between(made(TASKS[1], TextFiller()), 3, 8)
    assert tokens.min() >= 128
    counts = np.bincount(tokens)
    assert counts.max() > 3 * counts[counts > 0].mean(), "letters of a text are not equally frequent"


@given(index=indices)
def test_further_pairs_have_other_keys_and_near_ones_share_all_letters_but_one(index: int) -> None:
    for filler in (PairsFiller(), NearKeys()):
        task = made(TASKS[0], filler)
        document = task.example("train", index, 4)
        facts = bytes(document.placed[0][1].tokens.tolist()).decode()
        bound = set(re.findall("([a-z]{3})=", facts))
        found = re.findall("([a-z]{3})=[a-z]{4};", bytes(between(task, index, 4).tolist()).decode())
        assert len(found) >= 27 and not set(found) & bound
        if isinstance(filler, NearKeys):
            assert {key[:2] for key in found} <= {key[:2] for key in bound}
        else:
            assert len(set(found)) > 20


@given(index=indices)
def test_further_pairs_have_other_keys_where_there_are_hardly_more(index: int) -> None:
    """Of 26 keys 20 are bound, in any order: whatever is passed over wrongly shows."""
    task = made(KeyValue(key_length=1, num_pairs=20, num_queries=1), PairsFiller())
    facts = bytes(task.example("train", index, 4).placed[0][1].tokens.tolist()).decode()
    bound = set(re.findall("([a-z])=", facts))
    found = set(re.findall("([a-z])=[a-z]{4};", bytes(between(task, index, 4).tolist()).decode()))
    assert len(bound) == 20 and found and not found & bound


def test_documents_take_turns_with_mixed_fillers_and_tell_which_they_have() -> None:
    mixed = made(TASKS[0], MixedFiller(of=(NoiseFiller(), TextFiller(), NearKeys())))
    alone = [made(TASKS[0], filler) for filler in (NoiseFiller(), TextFiller(), NearKeys())]
    chosen = []
    for index in range(90):
        document = mixed.example("train", index, 2)
        (number,) = set(document.slices["filler"].tolist())
        chosen.append(number)
        assert np.array_equal(document.tokens, alone[number].example("train", index, 2).tokens)
    assert np.bincount(chosen).min() > 18
    assert "filler" not in alone[0].example("train", 0, 2).slices
