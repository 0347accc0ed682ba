"""Where each value of a resolved spec comes from."""

from typing import Annotated, Literal

from pydantic import Field

from cortexzoo.specs.base import NamedSpec, Spec
from cortexzoo.specs.loading.load import load_with_origins
from cortexzoo.specs.loading.nodes import Node
from cortexzoo.specs.loading.origins import ValueOrigin, origins
from cortexzoo.specs.loading.slots import Slot
from cortexzoo.specs.provenance import OURS, PHASE_1, PROTOTYPE, Source
from tests.specs.conftest import Write


def origins_of(name: str, overrides: tuple[str, ...] = ()) -> dict[str, str]:
    return {path: str(origin) for path, origin in load_with_origins(name, None, overrides).origins.items()}


def test_overrides_files_and_defaults_are_told_apart(write: Write) -> None:
    write("mine.yaml", "kind: recipe\nname: mine\nextends: robust\nbatch_size: 4\n")
    found = origins_of("mine.yaml", ("steps=3",))
    assert found["steps"] == "--set steps=3"
    assert found["batch_size"] == "mine.yaml:4"
    assert found["accumulation"] == "default (ours: convention of this project)"
    assert found["monitor.swing_window"] == f"default ({PHASE_1})"
    assert found["optimizer.beta2"].startswith("library/recipes/phase-1.yaml:")
    assert found["optimizer.beta2"].endswith(f" ({PHASE_1})")


def test_values_of_parts_are_found_in_the_files_of_the_parts() -> None:
    found = origins_of("cortexgpt-original", ("recipe.clipping.max_norm=2",))
    assert found["seed"].startswith("library/experiments/cortexgpt-original.yaml:")
    assert found["variant.position.decay"].startswith("library/variants/cortexgpt-original.yaml:")
    assert found["variant.position.decay"].endswith(f"({PROTOTYPE})")
    assert found["recipe.clipping.max_norm"] == "--set recipe.clipping.max_norm=2"
    assert "recipe.kind" not in found
    assert found["recipe.clipping.kind"].startswith("library/recipes/original.yaml:")


def test_a_file_vouches_for_a_default_only_by_its_own_path(write: Write) -> None:
    origin = "{kind: paper, where: a paper}"
    write(
        "mine.yaml",
        f"kind: recipe\nname: m\nschedule: {{kind: cosine}}\nprovenance: {{schedule: {origin}, steps: {origin}}}\n",
    )
    found = origins_of("mine.yaml")
    assert found["schedule.kind"] == "mine.yaml:3 (paper: a paper)"
    assert found["schedule.final_ratio"] == f"default ({OURS})"
    assert found["steps"] == "default (paper: a paper)"


def test_an_experiments_provenance_reaches_into_its_parts(write: Write) -> None:
    write(
        "exp.yaml",
        "kind: experiment\nname: e\nextends: transformer\nrecipe: {steps: 3}\n"
        "provenance: {recipe.steps: {kind: user, where: a request}}\n",
    )
    assert origins_of("exp.yaml")["recipe.steps"] == "exp.yaml:4 (user: a request)"


INNER, OUTER, OTHER = (Source(name, "ours") for name in ("inner", "outer", "other"))


class Inner(Spec):
    kind: Literal["inner"] = "inner"
    left: Annotated[int, INNER] = 1
    right: Annotated[int, INNER] = 2


class Other(Spec):
    kind: Literal["other"] = "other"
    left: Annotated[int, OTHER] = 1


class Outer(NamedSpec):
    kind: Literal["recipe"] = "recipe"
    inner: Annotated[Inner | Other, Field(discriminator="kind"), OUTER] = Inner(right=3)


def test_what_a_default_sets_is_the_outer_fields_and_the_rest_its_own() -> None:
    found = origins(Outer(name="n"), Node({}, None), Slot.of_type(Outer))
    assert {path: origin.source for path, origin in found.items() if path.startswith("inner")} == {
        "inner.kind": OUTER,
        "inner.left": INNER,
        "inner.right": OUTER,
    }
    assert found["inner.right"] == ValueOrigin(3, None, OUTER)


def test_a_list_of_specs_is_one_value_as_json() -> None:
    origin = load_with_origins("cortex-v2-hybrid").origins["recipe.objective.stages"]
    assert origin.value[0]["gaps"] == [0, 1, 4]
    assert origin.value[1]["promote_at"] is None
    assert str(origin).startswith("library/recipes/cortex-v2-a1.yaml:15 (measured-here:")
