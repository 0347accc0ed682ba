"""A matrix: its axes, its size, its mistakes, and paths that are relative to its file."""

from pathlib import Path

import pytest

from cortexzoo.specs import MatrixSpec, SpecError, load, shipped_names
from cortexzoo.specs.loading.load import load_with_origins

HEAD = "kind: matrix\nname: m\nexperiment: cortexgpt-stable\n"


def matrix(tmp_path: Path, text: str) -> MatrixSpec:
    file = tmp_path / "m.yaml"
    file.write_text(HEAD + text)
    return load(file, "matrix")


def test_every_combination_counts(tmp_path: Path) -> None:
    axes = "variants: [transformer, cortexgpt-stable]\nseeds: [0, 1, 2]\n"
    text = axes + "vary: {recipe.steps: [1, 2], recipe.batch_size: [4]}\n"
    assert matrix(tmp_path, text).size() == 2 * 3 * 2 * 1
    assert matrix(tmp_path, "").size() == 1


def test_a_value_that_is_a_mapping_is_shown_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(HEAD + "change: {recipe.clipping: {kind: norm, max_norm: 1.0}}\n")
    origin = load_with_origins(file).origins["change.recipe.clipping"]
    assert origin.value == {"kind": "norm", "max_norm": 1.0}
    assert str(origin).endswith("m.yaml:4")


def test_paths_are_relative_to_the_file_and_names_stay(tmp_path: Path) -> None:
    spec = matrix(tmp_path, "variants: [transformer, mine.yaml]\nrecipes: [./r.yaml, /abs/x.yaml]\n")
    assert spec.experiment == "cortexgpt-stable"
    assert spec.variants == ("transformer", str(tmp_path / "mine.yaml"))
    assert [Path(name) for name in spec.recipes] == [tmp_path / "r.yaml", Path("/abs/x.yaml")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vary: {seed: [1, 2]}\n", "m.yaml:4:14: vary.seed must be given under seeds"),
        ("change: {recipe: robust}\n", "change.recipe must be given under recipes"),
        ("change: {a: 1}\nvary: {a: [1]}\n", "change.a is also under vary: remove one of the two"),
        ("vary: {recipe.steps: []}\n", "must have at least 1 entry"),
        ("vary: {recipe.steps: 3}\n", "must be a list"),
        ("seeds: []\n", "seeds must have at least 1 entry"),
        ("seeds: [1, 1]\n", "seeds contains 1 twice"),
        ("seedz: [1]\n", "seedz is unknown; did you mean seeds?"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        matrix(tmp_path, text)
    assert message in refused.value.lines[0]


@pytest.mark.parametrize("name", shipped_names("matrix"))
def test_shipped_ones_name_shipped_specs(name: str) -> None:
    spec = load(name, "matrix")
    assert spec.experiment in shipped_names("experiment")
    assert set(spec.variants) <= set(shipped_names("variant"))
    assert set(spec.recipes) <= set(shipped_names("recipe"))
