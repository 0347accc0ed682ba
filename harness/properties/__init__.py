"""Every property by its name."""

from harness.properties.base import Property
from harness.properties.gate import GATE
from harness.properties.gradients import GRADIENTS
from harness.properties.isolation import ISOLATION
from harness.properties.repeatability import REPEATABILITY
from harness.properties.training import TRAINING
from specs.suite import PropertyName

REGISTRY: dict[PropertyName, Property] = {
    entry.name: entry for entry in (*ISOLATION, *REPEATABILITY, *GRADIENTS, *GATE, *TRAINING)
}
"""Each implements the entry of `specs.suite.PROPERTIES` of its name."""
