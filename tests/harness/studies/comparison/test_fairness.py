"""What must be equal is, or the difference is said."""

from dataclasses import replace

import pytest

from cortexzoo.harness.studies.comparison.contenders import Contender, Incomparable
from cortexzoo.harness.studies.comparison.fairness import differences, require_equal
from cortexzoo.specs import load_experiment


def contender(label: str, *changes: str, seeds: tuple[int, ...] = (0,)) -> Contender:
    experiments = tuple(load_experiment("cortexgpt-stable", [*changes, f"seed={seed}"]) for seed in seeds)
    return Contender(label, experiments, ())


def test_other_models_recipes_and_suites_are_fair() -> None:
    other = Contender("b", (load_experiment("cortexgpt-original"),), ())
    assert differences([contender("a"), other]) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("recipe.steps=7", "steps differ (500 for a, 7 for b)"),
        ("recipe.sequence_length=64", "sequence length differs (128 for a, 64 for b)"),
        ("recipe.batch_size=4", "sequences a step differ (1 × 8 for a, 1 × 4 for b)"),
        ("recipe.monitor.validation_sequences=9", "held-out sequences differ (all for a, 9 for b)"),
        ("data.validation_fraction=0.2", "data.validation_fraction differs (0.1 for a, 0.2 for b)"),
    ],
)
def test_each_difference_is_said(change: str, said: str) -> None:
    (found,) = differences([contender("a"), contender("b", change)])
    assert said in found


def test_data_of_another_family_are_told_by_name() -> None:
    other = Contender("b", (load_experiment("cortex-v2-hybrid"),), ())
    assert "data differ (pydoc-topics for a, kv-tokens-distractors for b)" in differences([contender("a"), other])


def test_other_gaps_are_other_documents() -> None:
    mixed, staged = (
        Contender(label, (load_experiment("cortex-v2-hybrid", [f"recipe.objective.stages={stages}"]),), ())
        for label, stages in (
            ("a", "[{gaps: [0, 1]}]"),
            ("b", "[{gaps: [0, 1], tokens_per_step: 512}, {gaps: [4], samples_per_gap: 7}]"),
        )
    )
    told = "gaps [0, 1] in 2048 tokens for a, gaps [0, 1] in 512 tokens, then gaps [4] in 2048 tokens for b"
    assert differences([mixed, staged]) == [f"stages differ ({told})"]
    assert differences([mixed, replace(mixed, label="c")]) == []


def test_the_name_of_the_data_is_no_difference() -> None:
    assert differences([contender("a"), contender("b", "data.name=other")]) == []


def test_other_seeds_are_another_order_of_the_data() -> None:
    (found,) = differences([contender("a", seeds=(0, 1)), contender("b", seeds=(0, 2))])
    assert found == "seeds differ (0, 1 for a, 0, 2 for b), so the data come in another order"


def test_it_is_refused_unless_allowed() -> None:
    require_equal([], allowed=False)
    require_equal(["steps differ"], allowed=True)
    with pytest.raises(Incomparable, match=r"not compared: steps differ; data differ \(--allow-different compares"):
        require_equal(["steps differ", "data differ"], allowed=False)
