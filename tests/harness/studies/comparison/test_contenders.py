"""Who takes part: names, files and runs, with the seeds that belong to them."""

from pathlib import Path

import pytest

from cortexzoo.harness.bench.generated_runs import experiment, generated_run
from cortexzoo.harness.runs.run_folder import SUMMARY, RunFolderError
from cortexzoo.harness.studies.comparison.contenders import Incomparable, contenders, is_run
from cortexzoo.specs import dump_yaml


def test_names_take_the_seeds_that_are_asked_for() -> None:
    sides = contenders(["cortexgpt-original", "cortexgpt-stable"], 3, ["recipe.steps=7"])
    assert [side.label for side in sides] == ["cortexgpt-original", "cortexgpt-stable"]
    assert all(side.seeds == (0, 1, 2) and not side.runs for side in sides)
    assert {each.recipe.steps for side in sides for each in side.experiments} == {7}


def test_runs_that_differ_in_their_seed_only_go_together(tmp_path: Path) -> None:
    made = [generated_run(tmp_path, experiment(seed), steps=1) for seed in (2, 1)]
    sides = contenders([str(made[0].path), "cortexgpt-original", str(made[1].path)], None, ())
    assert [(side.label, side.seeds) for side in sides] == [
        ("cortexgpt-stable", (1, 2)),
        ("cortexgpt-original", (1, 2)),
    ]
    assert [run.path for run in sides[0].runs] == [made[1].path, made[0].path]


def test_labels_tell_them_apart(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(dump_yaml(experiment()).replace("learning_rate: 0.005", "learning_rate: 0.004"))
    assert [side.label for side in contenders(["cortexgpt-stable", str(mine)], None, ())] == [
        "cortexgpt-stable 1",
        "cortexgpt-stable 2",
    ]


def test_what_names_a_run(tmp_path: Path) -> None:
    assert is_run(str(tmp_path)) and is_run("runs/a/b")
    assert not is_run("cortexgpt-stable") and not is_run("runs/mine.yaml") and not is_run("nothing-like-it")


@pytest.mark.parametrize(
    ("targets", "seeds", "overrides", "message"),
    [
        (["cortexgpt-stable", "cortexgpt-stable"], None, (), "at least two contenders that differ in more"),
        (["RUN", "cortexgpt-original"], 2, (), "has the seed of its training: remove --seeds"),
        (["RUN", "RUN"], None, ("recipe.steps=1",), "recipe.steps=1: a run is compared as it was trained"),
        (["RUN", "AGAIN"], None, (), "two of its runs have seed 0"),
    ],
)
def test_what_cannot_be_compared(
    tmp_path: Path, targets: list[str], seeds: int | None, overrides: tuple[str, ...], message: str
) -> None:
    places = {
        "RUN": generated_run(tmp_path, experiment(), steps=1),
        "AGAIN": generated_run(tmp_path, experiment(), steps=1),
    }
    named = [str(places[target].path) if target in places else target for target in targets]
    if "AGAIN" in targets:
        named.append("cortexgpt-original")
    with pytest.raises(Incomparable, match=message):
        contenders(named, seeds, overrides)


def test_a_run_that_has_not_ended_is_named_with_what_would_do(tmp_path: Path) -> None:
    run = generated_run(tmp_path, experiment(), steps=1, finished=False)
    with pytest.raises(
        RunFolderError, match=f"its training has not ended: resume it with `cortexzoo train --resume {run.path}`"
    ):
        contenders([str(run.path), "cortexgpt-original"], None, ())
    run.write_json(SUMMARY, {"status": "interrupted"})
    with pytest.raises(RunFolderError, match="its training was interrupted: resume it with"):
        contenders([str(run.path), "cortexgpt-original"], None, ())
