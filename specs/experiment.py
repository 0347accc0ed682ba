"""An experiment: variant + recipe + data + suite + seed."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from specs.base import NamedSpec
from specs.data import DataSpec
from specs.hybrid import HybridSpec
from specs.provenance import OURS
from specs.recipe import RecipeSpec
from specs.suite import SuiteSpec
from specs.task import TaskSpec
from specs.variant import VariantSpec


class ExperimentSpec(NamedSpec):
    """Everything that one training run and its verdict depend on. Each part is a spec or the name of a spec file."""

    kind: Literal["experiment"] = "experiment"
    variant: VariantSpec
    recipe: RecipeSpec
    data: DataSpec
    suite: SuiteSpec
    seed: Annotated[int, Field(ge=0, lt=2**31), OURS] = 0

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        is_task, objective = isinstance(self.data, TaskSpec), self.recipe.objective.kind
        if is_task != (objective == "recall"):
            raise ValueError(
                f"recipe.objective.kind must be {'recall' if is_task else 'next_token'} with data of the family "
                f"{self.data.family}, got {objective}"
            )
        if not isinstance(self.data, TaskSpec) or not isinstance(self.variant, HybridSpec):
            return self
        if self.data.chunk_size != self.variant.chunk_size:
            raise ValueError(
                f"data.chunk_size must be variant.chunk_size = {self.variant.chunk_size}, "
                f"got {self.data.chunk_size}: a gap counts what the model sees at a time"
            )
        return self
