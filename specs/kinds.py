"""The kinds of spec file, the type of each, and the folder of the library that holds it."""

from functools import cache
from typing import Any, Literal, get_args

from pydantic import TypeAdapter

from specs.data import DataSpec
from specs.experiment import ExperimentSpec
from specs.fault import FaultsSpec
from specs.matrix import MatrixSpec
from specs.recipe import RecipeSpec
from specs.suite import SuiteSpec
from specs.variant import VariantSpec

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
