"""What is valid and probably unintended is told in a line."""

import pytest

from cortexzoo.specs import load_experiment
from cortexzoo.specs.doubts import doubts

A_TASK = ("data=kv-tokens", "recipe=cortex-v2-a1", "recipe.objective.in_chunk={kind: none}")


@pytest.mark.parametrize("name", ["own_span", "own_weight"])
def test_what_long_term_memory_reads_of_texts_alone_is_told_of_a_task(name: str) -> None:
    change = f"variant.memory.long_term.{name}=3"
    (told,) = doubts(load_experiment("cortexgpt-stable", [*A_TASK, change]))
    assert told.startswith(f"variant.memory.long_term.{name} is 3") and "changes nothing: recipe.objective is" in told
    assert doubts(load_experiment("cortexgpt-stable", [change])) == []
    assert doubts(load_experiment("cortexgpt-stable", [*A_TASK])) == []
