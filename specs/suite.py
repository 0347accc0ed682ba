"""Which properties a variant is checked against, and with which verdicts it is expected to come out."""

from typing import Annotated, Literal

from pydantic import Field

from cortexzoo.specs.base import NamedSpec, Spec
from cortexzoo.specs.properties import PROPERTIES, PropertyName
from cortexzoo.specs.provenance import OURS


class Check(Spec):
    """One property of a suite: the verdict that is expected, and a bound other than the property's own."""

    expect: Annotated[Literal["pass", "fail", "skipped"], OURS] = "pass"
    may_skip: Annotated[bool, OURS] = Field(
        False,
        description="Not applying is expected too, as where a record is of another text than that of this Python.",
    )
    bound: Annotated[float | None, OURS] = Field(None, description="Null: the property's default bound.")
    reason: str = Field("", description="Why another verdict than `pass` is expected.")

    def bound_of(self, name: PropertyName) -> float:
        """The bound of the suite, or else the property's own."""
        return PROPERTIES[name].bound if self.bound is None else self.bound


class SuiteSpec(NamedSpec):
    """A set of properties with the verdicts that are expected of a variant."""

    kind: Literal["suite"] = "suite"
    properties: dict[PropertyName, Check] = Field(min_length=1)
