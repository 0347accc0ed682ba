"""The properties that a bare module can be held to, by name."""

from harness.bare.gradients import GRADIENTS
from harness.bare.laws import LAWS
from harness.bare.subject import BareSubject
from harness.properties import OF_ANY_MODEL
from harness.properties.base import Property
from specs.suite import PropertyName

BARE: dict[PropertyName, Property[BareSubject]] = {
    **{entry.name: entry for entry in (*LAWS, *GRADIENTS)},
    **{entry.name: entry for entry in OF_ANY_MODEL},
}
