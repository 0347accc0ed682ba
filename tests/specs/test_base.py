"""Specs are values: closed, frozen, with one canonical form and a hash of what changes behaviour."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cortexzoo.specs import RecipeSpec, SpecError, load, load_experiment
from cortexzoo.specs.base import HASH_LENGTH, Origin, Spec, without_documentation
from cortexzoo.specs.kinds import KINDS, Kind, adapter
from cortexzoo.specs.suite import Check, SuiteSpec
from tests.property.strategies import specs_of


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_canonical_json_comes_back(kind: Kind, data: st.DataObject) -> None:
    spec = data.draw(specs_of(kind))
    again = type(spec).from_json(spec.canonical_json())
    assert (again, again.hash(), again.canonical_json()) == (spec, spec.hash(), spec.canonical_json())


def test_a_later_field_at_its_old_value_leaves_the_hash_as_it_was() -> None:
    robust = load("robust", "recipe")
    assert "update_factor" not in without_documentation(robust.model_dump(mode="json"))["spikes"]
    assert load("robust", "recipe", ["spikes.update_factor=11.0"]).hash() != robust.hash()
    words = load("cortex-v2-hybrid-words", "variant")
    assert "write_width" not in without_documentation(words.model_dump(mode="json"))["mixer"]
    assert load("cortex-v2-hybrid-words", "variant", ["mixer.write_width=1"]).hash() != words.hash()


def test_the_hash_ignores_documentation_and_nothing_else() -> None:
    recipe = RecipeSpec(name="a")
    documented = RecipeSpec(name="a", description="words", provenance={"steps": Origin(kind="ours", where="here")})
    assert documented != recipe
    assert documented.hash() == recipe.hash()
    assert len(recipe.hash()) == HASH_LENGTH
    tracked, untracked = (load_experiment("transformer", [f"trackers={names}"]) for names in ("[jsonl, aim]", "[]"))
    assert tracked != untracked and tracked.hash() == untracked.hash()
    assert len({spec.hash() for spec in (recipe, RecipeSpec(name="b"), RecipeSpec(name="a", steps=1))}) == 3


def test_nothing_is_coerced_changed_or_added() -> None:
    recipe = load("robust", "recipe")
    for wrong in ({"steps": "5"}, {"steps": 5.0}, {"stepz": 5}, {"optimizer": {"eps": 0}}):
        with pytest.raises(ValidationError):
            RecipeSpec.model_validate({"name": "a", **wrong})
    with pytest.raises(ValidationError):
        recipe.steps = 3


def test_provenance_may_name_an_entry_of_a_table() -> None:
    origin = '{"kind": "ours", "where": "here"}'
    for path, fits in (("properties.causality.bound", True), ("properties.repeatability", False), ("name.x", False)):
        text = f'{{"name": "s", "properties": {{"causality": {{}}}}, "provenance": {{"{path}": {origin}}}}}'
        if fits:
            assert SuiteSpec.from_json(text).properties["causality"] == Check()
        else:
            with pytest.raises(ValidationError, match="is not a field of SuiteSpec"):
                SuiteSpec.from_json(text)


def spec_classes(outer: type[Spec] = Spec) -> set[type[Spec]]:
    found = {each for each in outer.__subclasses__() if each.__module__.startswith("cortexzoo.specs.")}
    return found | {inner for each in found for inner in spec_classes(each)}


def test_defaults_are_valid_although_nothing_validates_them() -> None:
    for kind in KINDS:
        adapter(kind)
    without_arguments = [
        each for each in spec_classes() if not any(field.is_required() for field in each.model_fields.values())
    ]
    assert len(without_arguments) > 30
    for spec_class in without_arguments:
        taken = spec_class.defaults()
        spec_class.model_rebuild()
        assert spec_class.model_validate_json(taken.canonical_json()) == taken == spec_class()


@pytest.mark.parametrize(
    ("names", "mistake"),
    [
        ("[jsonl, tensorbored]", "must be jsonl, aim, wandb or tensorboard"),
        ("[aim, aim]", "must name each tracker once, got aim, aim"),
    ],
)
def test_trackers_are_known_and_named_once(names: str, mistake: str) -> None:
    with pytest.raises(SpecError, match=mistake):
        load_experiment("transformer", [f"trackers={names}"])
