"""The shipped library: every file valid, named as it is found, and every number of a recipe vouched for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cortexzoo.specs import load, shipped_names
from cortexzoo.specs.kinds import FOLDERS, KINDS, PARTS, Kind
from cortexzoo.specs.loading.load import load_with_origins
from cortexzoo.specs.loading.shipped import LIBRARY, shipped_file
from cortexzoo.specs.loading.slots import Slot, field_slots
from cortexzoo.specs.properties import PROPERTY_NAMES
from cortexzoo.specs.provenance import Source

SHIPPED: list[tuple[Kind, str]] = [(kind, name) for kind in KINDS for name in shipped_names(kind)]


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@pytest.mark.parametrize(("kind", "name"), SHIPPED)
def test_each_loads_under_its_own_name_and_says_what_it_is_for(kind: Kind, name: str) -> None:
    spec = load(name, kind)
    assert spec.name == name
    assert spec.description.endswith(".")


def test_every_file_is_found() -> None:
    files = {path for path in LIBRARY.rglob("*") if path.is_file()}
    assert files == {shipped_file(kind, name).path for kind, name in SHIPPED}
    assert {path.name for path in LIBRARY.iterdir()} == set(FOLDERS.values())


def test_the_first_library() -> None:
    variants = {"cortexgpt-original", "cortexgpt-stable", "transformer"}
    assert variants <= set(shipped_names("experiment"))
    assert variants <= set(shipped_names("variant"))
    assert variants <= set(shipped_names("suite"))
    assert {"original", "phase-1", "robust"} <= set(shipped_names("recipe"))
    assert "pydoc-topics" in shipped_names("data")


@pytest.mark.parametrize("name", shipped_names("recipe"))
def test_every_number_of_a_recipe_has_a_source(name: str) -> None:
    unsourced = unsourced_numbers(shipped_file("recipe", name).path)
    assert unsourced == []


def test_an_unsourced_number_is_noticed(tmp_path: Path) -> None:
    origin = "{kind: ours, where: here}"
    file = tmp_path / "mine.yaml"
    file.write_text(f"kind: recipe\nname: m\nsteps: 3\nbatch_size: 4\nprovenance: {{steps: {origin}}}\n")
    assert unsourced_numbers(file) == ["batch_size"]


def unsourced_numbers(recipe: Path) -> list[str]:
    """The numbers that neither the file nor a default vouches for."""
    found = load_with_origins(recipe, "recipe").origins
    return [path for path, origin in found.items() if is_number(origin.value) and origin.source is None]


def numeric_fields(spec_class: type, seen: set[type]) -> Iterator[tuple[str, Slot]]:
    if spec_class in seen:
        return
    seen.add(spec_class)
    for name, slot in field_slots(spec_class).items():
        inner = list(slot.classes().values())
        if not inner and is_number(slot.default):
            yield f"{spec_class.__name__}.{name}", slot
        for each in inner:
            yield from numeric_fields(each, seen)


@pytest.mark.parametrize("kind", KINDS)
def test_every_default_number_has_a_source(kind: Kind) -> None:
    from cortexzoo.specs.kinds import spec_type

    fields = [
        entry for each in Slot.of_type(spec_type(kind)).classes().values() for entry in numeric_fields(each, set())
    ]
    assert [name for name, slot in fields if not isinstance(slot.source, Source)] == []


ONE_CLAIM = {"cortexgpt-original-high-rate"}
"""Suites that say one thing about a training in which nothing else is worth judging."""


@pytest.mark.parametrize(
    "name", sorted({load(name, "experiment").suite.name for name in shipped_names("experiment")} - ONE_CLAIM)
)
def test_the_suite_of_an_experiment_judges_every_property_and_explains_each_exception(name: str) -> None:
    suite = load(name, "suite")
    assert tuple(suite.properties) == PROPERTY_NAMES
    assert [key for key, check in suite.properties.items() if (check.expect == "pass") == bool(check.reason)] == []


@pytest.mark.parametrize("name", shipped_names("experiment"))
def test_an_experiments_parts_are_shipped_ones(name: str) -> None:
    experiment = load(name, "experiment")
    assert [part for part in PARTS if getattr(experiment, part).name not in shipped_names(part)] == []


def test_the_recipe_of_the_users_document() -> None:
    recipe = load("phase-1", "recipe")
    optimizer = recipe.optimizer
    assert (optimizer.learning_rate, optimizer.beta2, optimizer.weight_decay) == (1e-4, 0.98, 0.1)
    clipping = recipe.clipping
    assert (clipping.kind, clipping.max_norm) == ("adaptive", 0.5)
    assert (clipping.spike_ratio, clipping.spike_divisor) == (3.0, 10.0)
    assert (recipe.spikes.kind, recipe.spikes.ratio, recipe.spikes.action) == ("average_ratio", 5.0, "rollback")
    assert (recipe.recovery.kind, recipe.recovery.on_disk) == ("checkpoints", True)
    assert recipe.schedule.model_dump(include={"kind", "warmup_ratio"}) == {"kind": "cosine", "warmup_ratio": 0.1}
    assert recipe.consolidation.model_dump() == {"kind": "interval", "every": 500}


def test_the_original_keeps_its_flaws_as_explicit_values() -> None:
    origins = load_with_origins("cortexgpt-original", "variant").origins
    silent = [path for path, origin in origins.items() if origin.place is None]
    assert silent == ["vocab_size", "hidden_size"]
