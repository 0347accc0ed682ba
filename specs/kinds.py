"""The kinds of spec file, the type of each, and the folder of the library that holds it."""

from functools import cache
from typing import Any, Literal, get_args

from pydantic import TypeAdapter

from cortexzoo.specs.data import DataSpec
from cortexzoo.specs.experiment import ExperimentSpec
from cortexzoo.specs.fault import FaultsSpec
from cortexzoo.specs.matrix import MatrixSpec
from cortexzoo.specs.recipe import RecipeSpec
from cortexzoo.specs.suite import SuiteSpec
from cortexzoo.specs.variant import VariantSpec

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

TYPES: dict[Kind, Any] = {
    "variant": VariantSpec,
    "recipe": RecipeSpec,
    "data": DataSpec,
    "suite": SuiteSpec,
    "faults": FaultsSpec,
    "matrix": MatrixSpec,
    "experiment": ExperimentSpec,
}


@cache
def adapter(kind: Kind) -> TypeAdapter[Any]:
    """The validator of a kind."""
    return TypeAdapter(TYPES[kind])
