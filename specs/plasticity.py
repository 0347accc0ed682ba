"""What changes how easily weights move: to keep what was learned, or to keep every part in use."""

from typing import Annotated, Literal

from pydantic import Field

from cortexzoo.specs.base import PositiveFloat, PositiveInt, Spec
from cortexzoo.specs.provenance import CONTINUAL, OURS, Source

CLS = Source("complementary learning systems, McClelland et al. 1995, doi:10.1037/0033-295X.102.3.419", "paper")
SCALING = Source("synaptic scaling, Turrigiano 2008, doi:10.1016/j.cell.2008.10.008", "paper")


class NoProtection(Spec):
    """Weights move on the later text as on the earlier one."""

    kind: Literal["none"] = "none"


class Metaplasticity(Spec):
    """On the later text the rate of each weight falls with its importance for the earlier one.

    rate factor = 1 / (1 + strength * F / mean F), F the mean squared gradient over the last steps of the earlier text.
    """

    kind: Literal["metaplasticity"] = "metaplasticity"
    strength: Annotated[PositiveFloat, CONTINUAL] = 10.0
    memory: Annotated[float, Field(gt=0, lt=1), OURS] = Field(
        0.99, description="Weight of the mean squared gradient so far, at each step of the earlier text."
    )


class SlowFollower(Spec):
    """Two learners: a fast one is trained on the later text, a slow one follows it and is what the run ends with.

    slow += rate * (fast - slow) after every `every` steps, from the weights with which training went over.
    """

    kind: Literal["slow_follower"] = "slow_follower"
    rate: Annotated[float, Field(gt=0, le=1), CLS] = 0.05
    every: Annotated[PositiveInt, OURS] = Field(10, description="Optimiser steps.")


ProtectionSpec = Annotated[NoProtection | Metaplasticity | SlowFollower, Field(discriminator="kind")]


class NoHomeostasis(Spec):
    """Nothing watches how much columns and memories are used."""

    kind: Literal["none"] = "none"


class UsageTargets(Spec):
    """Columns, and sources of the memory gate, that are used too little are opened by multiplicative scaling.

    odds to open *= (target / usage) ^ rate where the mean usage of the last readings is below its target.
    """

    kind: Literal["usage"] = "usage"
    columns: Annotated[float, Field(ge=0, lt=1), OURS] = Field(0.1, description="Least mean mask of a column.")
    sources: Annotated[float, Field(ge=0, lt=1), OURS] = Field(
        0.05, description="Least mean share of a source that enters by the gate."
    )
    rate: Annotated[float, Field(gt=0, le=1), SCALING] = 0.1
    every: Annotated[PositiveInt, OURS] = Field(10, description="Optimiser steps from one reading to the next.")


HomeostasisSpec = Annotated[NoHomeostasis | UsageTargets, Field(discriminator="kind")]
