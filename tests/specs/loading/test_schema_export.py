"""The committed JSON Schemas: fresh, named by every shipped file, and as strict as an editor's may be."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from cortexzoo.specs.kinds import FOLDERS, KINDS, PARTS, Kind
from cortexzoo.specs.loading.problems import Problems, SpecText
from cortexzoo.specs.loading.schema_export import SCHEMAS, schema_text, stale_schemas
from cortexzoo.specs.loading.shipped import LIBRARY
from cortexzoo.specs.loading.yaml_nodes import read_yaml
from tests.property.strategies import specs_of

FILES = sorted(LIBRARY.rglob("*.yaml"))
BESIDE = Registry().with_resources(
    (file.name, DRAFT202012.create_resource(json.loads(file.read_text(encoding="utf-8"))))
    for file in SCHEMAS.glob("*.json")
)
"""The committed schemas, as an editor finds them: by a path relative to the schema that refers to them."""
VALIDATORS = {kind: jsonschema.Draft202012Validator(json.loads(schema_text(kind)), registry=BESIDE) for kind in KINDS}


def data_of(text: str) -> dict[str, Any]:
    content = read_yaml(text, SpecText("text", Path()), Problems()).plain()
    assert isinstance(content, dict)
    return content


def mistakes(kind: Kind, data: dict[str, Any]) -> list[str]:
    return [error.message for error in VALIDATORS[kind].iter_errors(data)]


def test_they_are_fresh() -> None:
    assert stale_schemas() == [], "run `cortexzoo schema --write`"


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_schemas(kind: Kind) -> None:
    meta = jsonschema.Draft202012Validator(jsonschema.Draft202012Validator.META_SCHEMA)
    assert [error.message for error in meta.iter_errors(json.loads(schema_text(kind)))] == []


def test_the_schema_of_an_experiment_refers_to_those_of_its_parts() -> None:
    text = schema_text("experiment")
    assert all(f'"$ref": "{part}.json#/$defs/' in text for part in PARTS)
    assert json.loads(text)["$defs"].keys() == {"Origin"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_every_shipped_file_names_its_schema_and_fits_it(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    data = data_of(text)
    kind = next(kind for kind in KINDS if FOLDERS[kind] == file.parent.name)
    named = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert (file.parent / named).resolve() == (SCHEMAS / f"{kind}.json").resolve()
    assert mistakes(kind, data) == []


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_what_the_loader_takes_fits(kind: Kind, data: st.DataObject) -> None:
    assert mistakes(kind, data.draw(specs_of(kind)).model_dump(mode="json")) == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("recipe", "{kind: recipe, name: a, extends: robust, clipping: {max_norm: 1.0}}"),
        ("recipe", "{kind: recipe, name: a, extends: ./mine.yaml}"),
        ("variant", "{kind: variant, name: a, extends: cortexgpt-stable, memory: {gate: {floor: 0.1}}}"),
        ("data", "{kind: data, name: a, extends: b.yaml, source: {paths: [c]}}"),
        ("experiment", "{kind: experiment, name: a, extends: transformer, recipe: {steps: 3}, variant: ./v.yaml}"),
        ("experiment",
         "{kind: experiment, name: a, variant: transformer, recipe: {extends: robust}, data: ../d.yml, suite: ./s}"),
    ],
)  # fmt: skip
def test_files_that_lean_on_others_fit(kind: Kind, text: str) -> None:
    assert mistakes(kind, data_of(text)) == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("recipe", "{kind: recipe}"),
        ("recipe", "{kind: data, name: a}"),
        ("recipe", "{kind: recipe, name: a, stepz: 3}"),
        ("recipe", "{kind: recipe, name: a, clipping: {max_norm: -1}}"),
        ("recipe", "{kind: recipe, name: a, clipping: {kind: nrom}}"),
        ("recipe", "{kind: recipe, name: a, extends: robst}"),
        ("variant", "{kind: variant, name: a}"),
        ("suite", "{kind: suite, name: a, properties: {causalty: {}}}"),
        ("experiment", "{kind: experiment, name: a, variant: transformer}"),
        ("experiment", "{kind: experiment, name: a, extends: transformer, recipe: transformer}"),
        ("experiment", "{kind: experiment, name: a, extends: transformer, recipe: {stepz: 3}}"),
        ("experiment", "{kind: experiment, name: a, extends: transformer, variant: {columns: {num_columns: -1}}}"),
    ],
)
def test_an_editor_underlines_mistakes(kind: Kind, text: str) -> None:
    assert not VALIDATORS[kind].is_valid(data_of(text))
