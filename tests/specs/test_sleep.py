"""What a recipe may say of sleep, and what is said to a mistake."""

import pytest
from pydantic import ValidationError

from cortexzoo.specs import SpecError, load_experiment
from cortexzoo.specs.provenance import Source
from cortexzoo.specs.recipe import RecipeSpec
from cortexzoo.specs.sleep import AcceptHeldOut, GeneratedSleep, NoiseSleep, NoSleep, ReplaySleep


def test_no_recipe_sleeps_unless_it_says_so() -> None:
    assert RecipeSpec(name="any").sleep == NoSleep()


def test_noise_has_the_numbers_of_the_users_run() -> None:
    spec = NoiseSleep()
    numbers = (spec.every, spec.steps, spec.learning_rate, spec.batch_size, spec.length, spec.clip)
    assert numbers == (512, 8, 1e-4, 4, 64, 1.0)
    for name in ("every", "steps", "learning_rate", "batch_size", "length", "clip"):
        (source,) = [item for item in NoiseSleep.model_fields[name].metadata if isinstance(item, Source)]
        assert source.kind == "user"
    assert spec.acceptance == AcceptHeldOut(max_loss_ratio=1.02, max_recall_drop=0.02)
    assert (spec.kl_weight, spec.ewc_weight) == (0, 0)


def test_examples_are_kept_only_where_something_reads_them() -> None:
    assert ReplaySleep().keeps_examples and NoiseSleep(ewc_weight=1.0).keeps_examples
    assert not NoiseSleep().keeps_examples and not GeneratedSleep().keeps_examples


@pytest.mark.parametrize(
    "change",
    [
        "kind: noise, steps: 0", "kind: noise, every: -1", "kind: noise, learning_rate: 0.0", "kind: noise, clip: 0.0",
        "kind: noise, kl_weight: -1.0", "kind: noise, batch_size: 0", "kind: replay, reservoir: 0",
        "kind: replay, length: 64", "kind: generated, temperature: 0.0", "kind: noise, temperature: 1.0",
        "kind: generated, length: 3, prompt_length: 4", "kind: never, every: 5", "kind: nightmare",
        "kind: noise, acceptance: {kind: held_out, max_recall_drop: 1.5}",
        "kind: noise, acceptance: {kind: held_out, max_loss_ratio: 0.0}",
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_names_the_place(change: str) -> None:
    with pytest.raises(SpecError) as raised:
        load_experiment("cortexgpt-stable", [f"recipe.sleep={{{change}}}"])
    (line,) = raised.value.lines
    assert "recipe.sleep" in line


def test_a_prompt_longer_than_the_dream_is_refused() -> None:
    with pytest.raises(ValidationError, match="prompt_length must be at most length = 3, got 4"):
        GeneratedSleep(length=3)
