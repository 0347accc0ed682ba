"""The costs of a spec in words: rows that add up, units that are read at a glance."""

import json

import pytest

from cortexzoo.harness.runs.costs import Costs, duration, in_bytes, in_short
from cortexzoo.specs import load
from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.specs.recipe import RecipeSpec


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (38_900_000, "38.9 MB"), (2**50, "1.13e+03 TB")],
)
def test_bytes(count: int, text: str) -> None:
    assert in_bytes(count) == text


@pytest.mark.parametrize(
    ("count", "text"), [(7, "7"), (999, "999"), (999.6, "1 k"), (2_029_000, "2.03 M"), (3e12, "3 T")]
)
def test_counts(count: float, text: str) -> None:
    assert in_short(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(42, "42 s"), (180, "3.0 min"), (5000, "83.3 min"), (9000, "2.5 h")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_whole_training_counts_every_token_of_every_step() -> None:
    recipe = RecipeSpec(name="r", steps=10, batch_size=2, sequence_length=16, accumulation=3)
    costs = Costs.of(load("transformer", "variant"), recipe)
    assert costs.training_flops == pytest.approx(costs.training_per_token * 10 * 2 * 16 * 3)


def test_a_hybrid_shows_what_is_trained_and_what_is_frozen_apart() -> None:
    costs = Costs.of(load("cortex-v2-hybrid-qwen", "variant"), RecipeSpec(name="r"))
    assert ("frozen: the base", "463,987,712") in costs.parameter_rows()
    assert ("frozen weights", "1.86 GB") in costs.memory_rows()
    assert costs.memory.gradients < costs.memory.frozen_weights / 30


def test_memories_that_are_empty_are_left_out() -> None:
    variant = load("cortex-v2-hybrid", "variant")
    assert isinstance(variant, HybridSpec)
    chunk = variant.chunk_size
    full, started = (
        Costs.of(variant, RecipeSpec(name="r", batch_size=1, sequence_length=length)).state_bytes
        for length in (chunk, chunk + 1)
    )
    assert "base.keys" not in full
    assert started["base.keys"][1] == 4 * started["base.keys"][0] > 0


def test_as_json_is_plain_and_whole() -> None:
    content = json.loads(json.dumps(Costs.of(load("cortexgpt-original", "variant"), RecipeSpec(name="r")).as_json()))
    assert content["state_bytes"]["short_term.reads"] == {"after_1_batch": 512, "after_4_batches": 512}
    assert "long_term.values" not in content["state_bytes"], "a store without bound counts as empty"
    assert content["training_bytes"]["total"] == sum(
        count for name, count in content["training_bytes"].items() if name != "total"
    )


def test_a_curriculum_is_counted_at_its_largest_steps_at_most() -> None:
    recipe = load("cortex-v2-a1", "recipe")
    assert isinstance(recipe, RecipeSpec)
    costs = Costs.of(load("cortex-v2-hybrid", "variant"), recipe)
    assert costs.is_bound
    assert (costs.batch_size, costs.length) == (1, 4_352), "the tokens of the last stage, as one document"
    assert costs.training_flops == pytest.approx(costs.training_per_token * recipe.steps * 4_352)
    assert not Costs.of(load("cortex-v2-hybrid", "variant"), RecipeSpec(name="r")).is_bound
