"""What is wanted: frozen, hashed, torch-free descriptions of variants, recipes, data, suites and experiments."""

from specs.base import Spec, SpecError
from specs.data import DataSpec
from specs.dumping import dump_yaml
from specs.experiment import ExperimentSpec
from specs.fault import FaultsSpec
from specs.loading import load, load_experiment, shipped_names
from specs.matrix import MatrixSpec
from specs.recipe import RecipeSpec
from specs.suite import SuiteSpec
from specs.variant import VariantSpec

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
