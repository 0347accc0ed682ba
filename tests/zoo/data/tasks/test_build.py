"""Each vocabulary is what the spec asks for, and each lack is one clear line."""

import pytest

from cortexzoo.zoo.data.tasks.build import build_task
from cortexzoo.zoo.errors import DataError
from tests.zoo.data.tasks.shipped import NAMES, spec_of, task_of

OWN = {"kv-tokens-distractors": ["filler={kind: noise}"]}
"""A vocabulary of its own has no text."""


@pytest.mark.parametrize("name", NAMES)
def test_an_own_vocabulary_is_just_large_enough(name: str) -> None:
    task = task_of(name, "vocabulary=own", *OWN.get(name, []))
    used = {int(token) for index in range(400) for token in task.example("train", index, 1).tokens}
    assert max(used) < task.vocabulary.size
    assert len(used) > (0.5 if task.spec.task.kind == "mqar" else 0.95) * task.vocabulary.size


def test_a_tokenizer_is_needed_where_the_spec_says_so() -> None:
    with pytest.raises(
        DataError, match=r"^task kv: vocabulary is tokenizer, but the model has none: use bytes or own$"
    ):
        build_task(spec_of("kv", "vocabulary=tokenizer"))
