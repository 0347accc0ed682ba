"""What a property claims, apart from how it is tried."""

from dataclasses import dataclass
from typing import Literal

from cortexzoo.specs.provenance import Source


@dataclass(frozen=True, slots=True)
class PropertyInfo:
    """What a property claims: a clause, the bound on the observed value with direction and unit, and its source."""

    clause: str
    bound: float
    direction: Literal["at_most", "at_least", "below"]
    unit: str
    source: Source
    version: int = 1
    """Increased when the meaning of the property changes: verdicts of different versions are not comparable."""


@dataclass(frozen=True, slots=True)
class AddedProperty:
    """A property of a plugin; the name of its entry point is that of the property."""

    info: PropertyInfo
    implementation: str
    """`package.module:NAME` of a `cortexzoo.harness.checking.properties.base.Property`."""
