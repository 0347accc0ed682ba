"""The properties that a bare module can be held to, by name."""

from cortexzoo.harness.checking.modules.gradients import GRADIENTS
from cortexzoo.harness.checking.modules.laws import LAWS
from cortexzoo.harness.checking.modules.subject import BareSubject
from cortexzoo.harness.checking.properties import OF_ANY_MODEL
from cortexzoo.harness.checking.properties.base import Property
from cortexzoo.specs.suite import PropertyName

BARE: dict[PropertyName, Property[BareSubject]] = {
    **{entry.name: entry for entry in (*LAWS, *GRADIENTS)},
    **{entry.name: entry for entry in OF_ANY_MODEL},
}
