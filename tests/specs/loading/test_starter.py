"""The starter file: loads as it is and with every value taken out of its comments."""

import re
from pathlib import Path

import pytest

from cortexzoo.specs import SpecError, load, shipped_names
from cortexzoo.specs.base import NamedSpec
from cortexzoo.specs.kinds import KINDS, Kind
from cortexzoo.specs.loading.schema_export import schema_text
from cortexzoo.specs.loading.shipped import LIBRARY
from cortexzoo.specs.loading.starter import starter_text, write_schema_copies


def apart_from_the_head(spec: NamedSpec) -> NamedSpec:
    return spec.model_copy(update={"name": "x", "description": "", "provenance": {}})


@pytest.mark.parametrize("kind", KINDS)
def test_it_has_the_values_of_its_parent(kind: Kind, tmp_path: Path) -> None:
    for name in shipped_names(kind):
        file = tmp_path / "mine.yaml"
        text = starter_text(file, name, kind)
        head, values = text.split('description: ""\n')
        uncommented = re.sub(r"^# ", "", values, flags=re.M)
        assert uncommented.strip()
        for content in (text, head + uncommented, head.replace(f"extends: {name}\n", "") + uncommented):
            file.write_text(content, encoding="utf-8")
            loaded = load(file, kind)
            assert loaded.name == "mine"
            assert apart_from_the_head(loaded) == apart_from_the_head(load(name, kind))


def test_it_explains_the_values() -> None:
    assert "#     floor: 0.0 # Minimum share of a non-empty source" in starter_text(
        Path("a.yaml"), "cortexgpt-stable", "variant"
    )


def test_it_names_what_else_could_stand_there() -> None:
    recipe = starter_text(Path("a.yaml"), "robust", "recipe")
    assert re.search(r"^# clipping:\n#   kind: \w+ # one of: .*\bnone\b", recipe, re.M)
    assert re.search(r"^# precision: fp32 # bf16: autocast, fp32 weights; one of: fp32, bf16$", recipe, re.M)


def test_it_refers_to_schemas_that_colleagues_have_too(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    schema = starter_text(file, "robust", None).splitlines()[0].partition("$schema=")[2]
    assert not Path(schema).is_absolute()
    copies = write_schema_copies("recipe", file)
    assert copies[0] == file.parent / schema
    assert copies[0].read_text(encoding="utf-8") == schema_text("recipe")
    assert write_schema_copies("recipe", LIBRARY / "recipes" / "a.yaml") == []
    ours = starter_text(LIBRARY / "recipes" / "a.yaml", "robust", None).splitlines()[0]
    assert ours.endswith("$schema=../../schema/recipe.json")


@pytest.mark.parametrize(
    ("file", "parent", "line"),
    [
        ("My V.yaml", "robust",
         "My V.yaml: the name 'My V' must be lower-case letters, digits, '-' and '.'; for example my-v.yaml"),
        ("ä.yaml", "robust",
         "ä.yaml: the name 'ä' must be lower-case letters, digits, '-' and '.'; for example my-spec.yaml"),
        ("mine", "robust", "mine: a spec file ends in .yaml, as in mine.yaml"),
        ("a.yaml", "robst", "robst: no spec of this name is shipped; did you mean robust?"),
        ("a.yaml", "b.yaml", "--from b.yaml: must be the name of a shipped spec (see `cortexzoo list`)"),
    ],
)  # fmt: skip
def test_what_cannot_be_started(file: str, parent: str, line: str) -> None:
    with pytest.raises(SpecError) as caught:
        starter_text(Path(file), parent, None)
    assert caught.value.lines == [line]
