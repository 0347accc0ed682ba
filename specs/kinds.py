"""The kinds of spec file, the type of each, and its folder of the library."""

from functools import cache
from typing import TYPE_CHECKING, Any, Literal, assert_never, get_args

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Kind = Literal["variant", "recipe", "data", "suite", "faults", "matrix", "experiment"]
KINDS: tuple[Kind, ...] = get_args(Kind)

PARTS: tuple[Kind, ...] = ("variant", "recipe", "data", "suite")
"""The kinds an experiment is made of; each is also the name of the experiment's field."""

FOLDERS: dict[Kind, str] = {
    "variant": "variants",
    "recipe": "recipes",
    "data": "data",
    "suite": "suites",
    "faults": "faults",
    "matrix": "matrices",
    "experiment": "experiments",
}


def spec_type(kind: Kind) -> Any:
    """The class, or the tagged union of classes, of a kind. Imports only that kind and its parts."""
    match kind:
        case "variant":
            from cortexzoo.specs.variant import VariantSpec

            return VariantSpec
        case "recipe":
            from cortexzoo.specs.recipe import RecipeSpec

            return RecipeSpec
        case "data":
            from cortexzoo.specs.data import DataSpec

            return DataSpec
        case "suite":
            from cortexzoo.specs.suite import SuiteSpec

            return SuiteSpec
        case "faults":
            from cortexzoo.specs.fault import FaultsSpec

            return FaultsSpec
        case "matrix":
            from cortexzoo.specs.matrix import MatrixSpec

            return MatrixSpec
        case "experiment":
            from cortexzoo.specs.experiment import ExperimentSpec

            return ExperimentSpec
    assert_never(kind)


@cache
def adapter(kind: Kind) -> "TypeAdapter[Any]":
    """The validator of a kind."""
    from pydantic import TypeAdapter

    return TypeAdapter(spec_type(kind))
