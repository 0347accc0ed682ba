"""What the plugin adds, as specs: imported by every command, so without torch."""

from typing import Annotated, ClassVar, Literal

from cortexzoo.specs.base import NamedSpec, PositiveFloat, PositiveInt, Spec
from cortexzoo.specs.property_info import AddedProperty, PropertyInfo
from cortexzoo.specs.provenance import Source

OURS = Source("example plugin", "ours")


class MeanSpec(NamedSpec):
    """Each token beside the mean of all before it."""

    kind: Literal["variant"] = "variant"
    family: Literal["mean"] = "mean"
    vocab_size: Annotated[PositiveInt, OURS] = 256
    hidden_size: Annotated[PositiveInt, OURS] = 32
    builder: ClassVar[str] = "cortexzoo_example.parts:build_model"


class Echo(Spec):
    """One letter, to be written again after the gap."""

    kind: Literal["echo"] = "echo"
    version: Annotated[Literal[1], OURS] = 1
    characters: ClassVar[str] = "abcdefghijklmnopqrstuvwxyz[]=ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    builder: ClassVar[str] = "cortexzoo_example.parts:build_task"


class SignClipping(Spec):
    """Each gradient element is limited to ±`most`."""

    kind: Literal["sign"] = "sign"
    most: Annotated[PositiveFloat, OURS] = 0.1
    builder: ClassVar[str] = "cortexzoo_example.parts:build_clipping"


LOGITS_ARE_CENTRED = AddedProperty(
    PropertyInfo("the mean logit is near 0", 10.0, "at_most", "max |mean logit|", OURS),
    "cortexzoo_example.parts:LOGITS_ARE_CENTRED",
)
