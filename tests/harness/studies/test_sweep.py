"""A matrix becomes experiments, and its mistakes are told where they are written."""

from pathlib import Path

import pytest

from cortexzoo.harness.studies.sweep import load_matrix, sweep
from cortexzoo.specs import SpecError, load_experiment
from tests.harness.trained import SMALL


def written(tmp_path: Path, text: str) -> str:
    file = tmp_path / "m.yaml"
    file.write_text(f"kind: matrix\nname: m\nexperiment: cortexgpt-stable\n{text}")
    return str(file)


def test_each_combination_is_the_experiment_with_its_values(tmp_path: Path) -> None:
    text = (
        "recipes: [robust, phase-1]\nseeds: [3, 4]\nchange: {recipe.steps: 7, variant.hidden_size: 16}\n"
        "vary:\n  recipe.clipping: [{kind: none}, {kind: norm, max_norm: 1e-5}]\n"
    )
    _, cells = load_matrix(written(tmp_path, text))
    assert len(cells) == 4
    assert cells[3].coordinates == (("recipe", "phase-1"), ("recipe.clipping", '{"kind": "norm", "max_norm": 1e-05}'))
    assert cells[3].experiments[1] == load_experiment(
        "cortexgpt-stable",
        ["recipe=phase-1", "recipe.steps=7", "variant.hidden_size=16", "recipe.clipping={kind: norm, max_norm: 1e-5}",
         "seed=4"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vary: {recipe.stepz: [1]}\n", "m.yaml:4:22: vary.recipe.stepz: recipe.stepz is unknown; did you mean steps?"),
        ("change: {recipe.steps: -1}\n", "m.yaml:4:24: change.recipe.steps: recipe.steps must be > 0, got -1"),
        ("variants: [transformr]\n", "m.yaml:4:11: variants: no variant called 'transformr' is shipped"),
        ("recipes: [nowhere.yaml]\n", "nowhere.yaml does not exist"),
    ],
)
def test_mistakes_are_told_where_they_are_written(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        load_matrix(written(tmp_path, text))
    assert message in refused.value.lines[0]


@pytest.mark.slow
def test_all_of_it_is_trained_once(tmp_path: Path) -> None:
    changes = "".join(f"  {change.replace('=', ': ')}\n" for change in SMALL if "steps" not in change)
    text = f"seeds: [0, 1]\nchange:\n{changes}vary: {{recipe.steps: [2, 3]}}\n"
    _, cells = load_matrix(written(tmp_path, text))
    told: list[str] = []
    rows = sweep(cells, tmp_path / "runs", 2, told.append)
    assert len(told) == 4
    assert [len(row.records) for row in rows] == [2, 2]
    assert [row.as_json()["coordinates"] for row in rows] == [{"recipe.steps": "2"}, {"recipe.steps": "3"}]
    assert len(set(told)) == 4
    again = sweep(cells, tmp_path / "runs", 2, told.append)
    assert [[record.path for record in row.records] for row in again] == [
        [record.path for record in row.records] for row in rows
    ]
    assert len(told) == 4
