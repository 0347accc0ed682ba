"""What is wanted: frozen, hashed, torch-free descriptions of variants, recipes, data, suites and experiments.

Names are imported when they are first used, so that a command that reads one kind of spec builds no other.
"""

from typing import TYPE_CHECKING

from cortexzoo.specs.late_names import late_names

if TYPE_CHECKING:
    from cortexzoo.specs.base import Spec
    from cortexzoo.specs.data import DataSpec
    from cortexzoo.specs.errors import SpecError
    from cortexzoo.specs.experiment import ExperimentSpec
    from cortexzoo.specs.fault import FaultsSpec
    from cortexzoo.specs.loading.dumping import dump_yaml
    from cortexzoo.specs.loading.load import load, load_experiment
    from cortexzoo.specs.loading.shipped import shipped_names
    from cortexzoo.specs.matrix import MatrixSpec
    from cortexzoo.specs.recipe import RecipeSpec
    from cortexzoo.specs.suite import SuiteSpec
    from cortexzoo.specs.variant import VariantSpec

__all__ = [
    "DataSpec",
    "ExperimentSpec",
    "FaultsSpec",
    "MatrixSpec",
    "RecipeSpec",
    "Spec",
    "SpecError",
    "SuiteSpec",
    "VariantSpec",
    "dump_yaml",
    "load",
    "load_experiment",
    "shipped_names",
]

_HOMES = {
    "DataSpec": "data",
    "ExperimentSpec": "experiment",
    "FaultsSpec": "fault",
    "MatrixSpec": "matrix",
    "RecipeSpec": "recipe",
    "Spec": "base",
    "SpecError": "errors",
    "SuiteSpec": "suite",
    "VariantSpec": "variant",
    "dump_yaml": "loading.dumping",
    "load": "loading.load",
    "load_experiment": "loading.load",
    "shipped_names": "loading.shipped",
}
"""The module in which each name is defined."""

__getattr__, __dir__ = late_names(__name__, _HOMES)
