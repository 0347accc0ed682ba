"""What is wanted: frozen, hashed, torch-free descriptions of variants, recipes, data, suites and experiments."""

from cortexzoo.specs.base import Spec, SpecError
from cortexzoo.specs.data import DataSpec
from cortexzoo.specs.experiment import ExperimentSpec
from cortexzoo.specs.fault import FaultsSpec
from cortexzoo.specs.loading.dumping import dump_yaml
from cortexzoo.specs.loading.load import load, load_experiment, shipped_names
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
