"""Every property by its name."""

from typing import cast

from cortexzoo.harness.checking.properties.base import Property
from cortexzoo.harness.checking.properties.columns import COLUMNS
from cortexzoo.harness.checking.properties.consolidation import CONSOLIDATION
from cortexzoo.harness.checking.properties.continual_training import CONTINUAL
from cortexzoo.harness.checking.properties.curves import CURVES
from cortexzoo.harness.checking.properties.distractors import DISTRACTORS
from cortexzoo.harness.checking.properties.documents import DOCUMENTS_OF_TASKS
from cortexzoo.harness.checking.properties.dreaming import DREAMING
from cortexzoo.harness.checking.properties.fields import FIELDS
from cortexzoo.harness.checking.properties.forward import FORWARD
from cortexzoo.harness.checking.properties.fresh import FRESH
from cortexzoo.harness.checking.properties.gate import GATE
from cortexzoo.harness.checking.properties.gradients import GRADIENTS
from cortexzoo.harness.checking.properties.growth import GROWTH
from cortexzoo.harness.checking.properties.guarding import GUARDING
from cortexzoo.harness.checking.properties.hybrid import HYBRID
from cortexzoo.harness.checking.properties.interruption import INTERRUPTION
from cortexzoo.harness.checking.properties.intervals import INTERVALS
from cortexzoo.harness.checking.properties.isolation import ISOLATION
from cortexzoo.harness.checking.properties.measuring import MEASURING
from cortexzoo.harness.checking.properties.memory import MEMORY
from cortexzoo.harness.checking.properties.operations import OPERATIONS
from cortexzoo.harness.checking.properties.operators import OPERATORS
from cortexzoo.harness.checking.properties.orders import ORDERS
from cortexzoo.harness.checking.properties.own_loop import OWN_LOOP
from cortexzoo.harness.checking.properties.padding import PADDING
from cortexzoo.harness.checking.properties.processes import PROCESSES
from cortexzoo.harness.checking.properties.reach import REACH
from cortexzoo.harness.checking.properties.recall import RECALL
from cortexzoo.harness.checking.properties.recall_training import RECALL_TRAINING
from cortexzoo.harness.checking.properties.refusals import REFUSALS
from cortexzoo.harness.checking.properties.repeatability import REPEATABILITY
from cortexzoo.harness.checking.properties.reproduction import REPRODUCTION
from cortexzoo.harness.checking.properties.results import RESULTS
from cortexzoo.harness.checking.properties.sampling import SAMPLING
from cortexzoo.harness.checking.properties.sequences import SEQUENCES
from cortexzoo.harness.checking.properties.serving import SERVING
from cortexzoo.harness.checking.properties.sleep import SLEEP
from cortexzoo.harness.checking.properties.slow_store import SLOW_STORE
from cortexzoo.harness.checking.properties.steps import STEPS_OF_TRAINING
from cortexzoo.harness.checking.properties.texts import TEXTS
from cortexzoo.harness.checking.properties.trainer import TRAINER
from cortexzoo.harness.checking.properties.training import TRAINING
from cortexzoo.harness.checking.properties.worth import WORTH
from cortexzoo.harness.checking.subject import Runnable, Subject
from cortexzoo.specs.plugins import named
from cortexzoo.specs.properties import ADDED, PropertyName

OF_ANY_MODEL: tuple[Property[Runnable], ...] = (*SEQUENCES, *REPRODUCTION, *GROWTH, *PADDING)
"""Properties that need only the members of `Runnable`."""

OF_TRAINED_MODELS: tuple[Property[Subject], ...] = (
    *ISOLATION,
    *REPEATABILITY,
    *FORWARD,
    *SAMPLING,
    *FRESH,
    *OPERATORS,
    *REFUSALS,
    *GRADIENTS,
    *GATE,
    *TRAINING,
    *MEMORY,
    *COLUMNS,
    *TRAINER,
    *PROCESSES,
    *STEPS_OF_TRAINING,
    *CONTINUAL,
    *GUARDING,
    *OWN_LOOP,
    *INTERVALS,
    *SERVING,
    *MEASURING,
    *RESULTS,
    *CURVES,
    *ORDERS,
    *TEXTS,
    *DOCUMENTS_OF_TASKS,
    *INTERRUPTION,
    *SLEEP,
    *DREAMING,
    *FIELDS,
    *OPERATIONS,
    *HYBRID,
    *REACH,
    *RECALL,
    *RECALL_TRAINING,
    *DISTRACTORS,
    *CONSOLIDATION,
    *SLOW_STORE,
    *WORTH,
)


class _Registry(dict[PropertyName, Property[Subject]]):
    """Properties of plugins are imported when they are asked for: their modules import this one."""

    def __missing__(self, name: PropertyName) -> Property[Subject]:
        self[name] = found = named(ADDED[name].implementation)
        return cast(Property[Subject], found)


REGISTRY = _Registry(
    {
        **{entry.name: entry for entry in OF_TRAINED_MODELS},
        **{entry.name: entry for entry in OF_ANY_MODEL},
    }
)
"""Each implements the entry of `cortexzoo.specs.properties.PROPERTIES` of its name."""
