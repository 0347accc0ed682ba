"""Every property by its name."""

from harness.properties.base import Property
from harness.properties.columns import COLUMNS
from harness.properties.gate import GATE
from harness.properties.gradients import GRADIENTS
from harness.properties.growth import GROWTH
from harness.properties.hybrid import HYBRID
from harness.properties.isolation import ISOLATION
from harness.properties.memory import MEMORY
from harness.properties.operations import OPERATIONS
from harness.properties.padding import PADDING
from harness.properties.recall import RECALL
from harness.properties.repeatability import REPEATABILITY
from harness.properties.reproduction import REPRODUCTION
from harness.properties.sequences import SEQUENCES
from harness.properties.sleep import SLEEP
from harness.properties.trainer import TRAINER
from harness.properties.training import TRAINING
from harness.subject import Runnable, Subject
from specs.suite import PropertyName

OF_ANY_MODEL: tuple[Property[Runnable], ...] = (*SEQUENCES, *REPRODUCTION, *GROWTH, *PADDING)
"""Properties that ask only for what `Runnable` names."""

OF_TRAINED_MODELS: tuple[Property[Subject], ...] = (
    *ISOLATION,
    *REPEATABILITY,
    *GRADIENTS,
    *GATE,
    *TRAINING,
    *MEMORY,
    *COLUMNS,
    *TRAINER,
    *SLEEP,
    *OPERATIONS,
    *HYBRID,
    *RECALL,
)

REGISTRY: dict[PropertyName, Property[Subject]] = {
    **{entry.name: entry for entry in OF_TRAINED_MODELS},
    **{entry.name: entry for entry in OF_ANY_MODEL},
}
"""Each implements the entry of `specs.suite.PROPERTIES` of its name."""
