"""A matrix of runs: one experiment, varied along several axes; every combination is a run."""

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from cortexzoo.specs.base import NamedSpec, SpecReferences
from cortexzoo.specs.provenance import OURS

OWN_AXES = {"variant": "variants", "recipe": "recipes", "data": "data", "seed": "seeds"}
"""Values of an experiment that have an axis of their own."""

MOST_RUNS = 1000

References = Annotated[tuple[str, ...], SpecReferences(), OURS]


class MatrixSpec(NamedSpec):
    """Every combination of variants, recipes, data, seeds and other values; each is one run.

    Parts are named as in an experiment: shipped names, or paths relative to this file.
    """

    kind: Literal["matrix"] = "matrix"
    experiment: Annotated[str, SpecReferences()] = Field(description="The experiment that is varied.")
    variants: References = Field((), description="None: the experiment's own.")
    recipes: References = Field((), description="None: the experiment's own.")
    data: References = Field((), description="None: the experiment's own.")
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(min_length=1), OURS] = (0,)
    change: Annotated[dict[str, JsonValue], OURS] = Field(
        default_factory=dict, description="Dotted path -> the value that it has in every run."
    )
    vary: Annotated[dict[str, Annotated[tuple[JsonValue, ...], Field(min_length=1)]], OURS] = Field(
        default_factory=dict, description="Dotted path -> the values that it takes in turn."
    )

    @model_validator(mode="after")
    def _every_axis_once(self) -> Self:
        for name in ("change", "vary"):
            for path in getattr(self, name):
                if axis := OWN_AXES.get(path):
                    raise ValueError(f"{name}.{path} must be given under {axis}")
        for path in self.vary:
            if path in self.change:
                raise ValueError(f"change.{path} is also under vary: remove one of the two")
        for name in ("variants", "recipes", "data", "seeds"):
            values = getattr(self, name)
            if twice := [value for value in values if values.count(value) > 1]:
                raise ValueError(f"{name} contains {twice[0]} twice")
        if self.size() > MOST_RUNS:
            raise ValueError(f"describes {self.size()} runs, at most {MOST_RUNS} fit in one matrix: split it")
        return self

    def size(self) -> int:
        """How many runs it describes."""
        count = len(self.seeds)
        for values in (self.variants, self.recipes, self.data):
            count *= len(values) or 1
        for varied in self.vary.values():
            count *= len(varied)
        return count
