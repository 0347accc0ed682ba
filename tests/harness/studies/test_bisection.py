"""The smallest set of values that flips a verdict, over invented answers and over a real, tiny training."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import ValidationError

from cortexzoo.harness.cli import main
from cortexzoo.harness.studies.bisection import Answer, Asked, Part, changed, parts, smallest
from cortexzoo.specs import ExperimentSpec, load_experiment


def numbered(count: int) -> list[Part]:
    return [Part((str(number),), 0, 1) for number in range(count)]


@pytest.mark.parametrize("culprits", [{3}, {0, 7}, {1, 2, 5}, set(range(8))])
def test_exactly_the_parts_that_are_needed_are_found(culprits: set[int]) -> None:
    every, asked = numbered(8), 0

    def ask(chosen: Sequence[Part]) -> Answer:
        nonlocal asked
        asked += 1
        return "bad" if culprits <= {int(part.path[0]) for part in chosen} else "good"

    assert {int(part.path[0]) for part in smallest(every, ask)} == culprits
    assert asked <= 64


def test_parts_that_only_work_together_count_as_neither() -> None:
    """Part 5 needs part 4; without it nothing can be built."""

    def ask(chosen: Sequence[Part]) -> Answer:
        numbers = {int(part.path[0]) for part in chosen}
        if 5 in numbers and 4 not in numbers:
            return "neither"
        return "bad" if 5 in numbers else "good"

    assert {part.path[0] for part in smallest(numbered(9), ask)} == {"4", "5"}


def test_parts_are_the_values_that_differ_and_lead_from_one_to_the_other() -> None:
    good = load_experiment("cortexgpt-stable", ["recipe.steps=50"])
    bad = load_experiment("cortexgpt-stable", ["recipe.steps=60", "recipe.clipping={kind: none}", "seed=2"])
    found = parts(good, bad)
    assert {".".join(part.path) for part in found} == {"recipe.steps", "recipe.clipping", "seed"}
    assert str(next(part for part in found if part.path == ("seed",))) == "seed: 0 → 2"
    assert parts(changed(good, found), bad) == []
    assert parts(changed(good, found[:1]), good) != []
    assert parts(good, good) == []


def test_other_families_are_one_part_each_and_names_and_suites_none() -> None:
    good, bad = load_experiment("cortexgpt-stable"), load_experiment("transformer")
    found = parts(good, bad)
    assert ("variant",) in {part.path for part in found}
    assert not {"name", "suite"} & {key for part in found for key in part.path}
    assert parts(changed(good, found), bad) == []


def test_values_that_do_not_fit_answer_neither(tmp_path: Path) -> None:
    good = load_experiment("cortexgpt-stable")
    unfit = [Part(("recipe", "steps"), 1, -1)]
    with pytest.raises(ValidationError):
        changed(good, unfit)
    asked = Asked("causality", tmp_path)
    assert asked.with_parts(good, unfit) == "neither"
    assert asked.count == 0


def test_the_command_prints_what_flips_the_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def of(self: Asked, experiment: ExperimentSpec) -> Answer:
        self.count += 1
        return "bad" if experiment.seed == 3 and experiment.recipe.steps == 50 else "good"

    monkeypatch.setattr(Asked, "of", of)
    changes = ["--set-bad", "seed=3", "--set-bad", "recipe.steps=50", "--set-bad", "recipe.batch_size=4"]
    assert main(["bisect", "transformer", "transformer", "--property", "causality", *changes]) == 0
    printed = capsys.readouterr().out
    assert "causality fails with 2 of the 3 values that differ" in printed
    assert "  seed: 0 → 3" in printed and "recipe.steps: " in printed and "batch_size" not in printed
    assert main(["bisect", "transformer", "transformer", "--property", "causality", "--set-bad", "seed=4"]) == 2
    assert "BAD transformer: causality passes" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "told"), [
    (["--property", "causality"], "no value differs"),
    (["--property", "causalty"], "did you mean causality?"),
])  # fmt: skip
def test_what_cannot_be_bisected_is_refused(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bisect", "transformer", "transformer", *arguments]) == 2
    assert told in capsys.readouterr().err
