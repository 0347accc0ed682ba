"""An experiment: variant + recipe + data + suite + seed."""

from typing import Annotated, Literal

from pydantic import Field

from specs.base import NamedSpec
from specs.data import DataSpec
from specs.provenance import OURS
from specs.recipe import RecipeSpec
from specs.suite import SuiteSpec
from specs.variant import VariantSpec


class ExperimentSpec(NamedSpec):
    """Everything that one training run and its verdict depend on. Each part is a spec or the name of a spec file."""

    kind: Literal["experiment"] = "experiment"
    variant: VariantSpec
    recipe: RecipeSpec
    data: DataSpec
    suite: SuiteSpec
    seed: Annotated[int, Field(ge=0, lt=2**31), OURS] = 0
