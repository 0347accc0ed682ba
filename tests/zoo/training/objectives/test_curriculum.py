"""The curriculum: every gap equally often, stages that end in time, and no step that depends on anything else."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortexzoo.specs.objective import Stage
from cortexzoo.zoo.training.objectives.curriculum import RECENT, RIGHT, Curriculum
from cortexzoo.zoo.training.policies.base import Step
from tests.zoo.training.tiny import Notebook


def curriculum(*stages: Stage, documents: int = 2, seed: int = 0) -> Curriculum:
    return Curriculum(stages, seed, {(i, gap): documents for i, stage in enumerate(stages) for gap in stage.gaps})


def trainer(notebook: Notebook | None = None) -> Any:
    book = notebook or Notebook()
    return SimpleNamespace(event=lambda kind, detail: book.event(0, kind, detail))


def take(course: Curriculum, numbers: range, right: float = 0.0, told: Any = None) -> list[int]:
    gaps = []
    for number in numbers:
        gaps.append(course.gap(number))
        course.step_taken(told or trainer(), Step(number, readings={RIGHT: right}))
    return gaps


@given(st.sets(st.integers(0, 64), min_size=1, max_size=5), st.integers(0, 9))
def test_every_block_has_each_gap_once(gaps: set[int], seed: int) -> None:
    course = curriculum(Stage(gaps=tuple(gaps), samples_per_gap=1000), seed=seed)
    seen = take(course, range(1, 4 * len(gaps) + 1))
    for first in range(0, len(seen), len(gaps)):
        assert sorted(seen[first : first + len(gaps)]) == sorted(gaps)


def test_the_order_of_gaps_is_not_that_of_the_spec_throughout() -> None:
    seen = take(curriculum(Stage(gaps=(1, 2, 3), samples_per_gap=1000)), range(1, 31))
    assert len({tuple(seen[i : i + 3]) for i in range(0, 30, 3)}) > 1


def test_a_stage_ends_once_every_gap_had_its_documents() -> None:
    course = curriculum(Stage(gaps=(1, 2), samples_per_gap=5), Stage(gaps=(9,), samples_per_gap=5))
    seen = take(course, range(1, 10))
    assert sorted(seen[:6]) == [1, 1, 1, 2, 2, 2], "three steps of two documents are the first to hold five of a gap"
    assert seen[6:] == [9, 9, 9]


def test_the_gap_with_the_fewest_documents_decides() -> None:
    stages = (Stage(gaps=(1, 2), samples_per_gap=4), Stage(gaps=(9,)))
    course = Curriculum(stages, 0, {(0, 1): 4, (0, 2): 1, (1, 9): 1})
    assert take(course, range(1, 10))[8:] == [9]


def test_a_stage_ends_sooner_when_the_answers_are_right() -> None:
    book = Notebook()
    course = curriculum(Stage(gaps=(1, 2), samples_per_gap=1000, promote_at=0.9), Stage(gaps=(9,)))
    take(course, range(1, 2 * RECENT + 1), right=0.95, told=trainer(book))
    assert (course.stage, course.epoch) == (1, 1), "an epoch ends with its stage"
    assert book.events[0][2]["why"] == "the answers were correct"


def test_one_gap_that_is_not_learned_holds_the_stage() -> None:
    course = curriculum(Stage(gaps=(1, 2), samples_per_gap=1000, promote_at=0.9), Stage(gaps=(9,)))
    for number in range(1, 41):
        right = 1.0 if course.gap(number) == 1 else 0.5
        course.step_taken(trainer(), Step(number, readings={RIGHT: right}))
    assert course.stage == 0


def test_the_last_stage_lasts_and_its_epochs_are_counted() -> None:
    course = curriculum(Stage(gaps=(3,), samples_per_gap=4))
    take(course, range(1, 8))
    assert (course.stage, course.epoch) == (0, 3)


def test_a_refused_step_has_its_place_in_the_order() -> None:
    with_refusal, disabled = (curriculum(Stage(gaps=(1, 2, 3), samples_per_gap=100)) for _ in range(2))
    take(with_refusal, range(1, 3))
    with_refusal.step_refused(trainer(), Step(3))
    take(disabled, range(1, 4))
    assert take(with_refusal, range(4, 12)) == take(disabled, range(4, 12))


def test_a_curriculum_goes_on_where_its_state_says() -> None:
    stages = (Stage(gaps=(1, 2), samples_per_gap=3, promote_at=0.9), Stage(gaps=(4, 5, 6)))
    whole, first, second = (curriculum(*stages) for _ in range(3))
    seen = take(whole, range(1, 20), right=1.0)
    begun = take(first, range(1, 7), right=1.0)
    second.load_state(trainer(), first.state_dict(), {})
    assert begun + take(second, range(7, 20), right=1.0) == seen


def test_a_curriculum_that_has_fewer_stages_by_now_stays_in_the_last() -> None:
    far, near = curriculum(Stage(gaps=(1,), samples_per_gap=2), Stage(gaps=(4,))), curriculum(Stage(gaps=(2, 3)))
    take(far, range(1, 4))
    assert far.stage == 1
    near.load_state(trainer(), far.state_dict(), {})
    assert sorted(take(near, range(4, 6))) == [2, 3]


def test_a_gap_may_be_named_once_only() -> None:
    with pytest.raises(ValueError, match="gaps must be distinct"):
        Stage(gaps=(1, 1))
