"""Faults to inject into a training run: kind, step, severity, and expected outcome."""

from typing import Annotated, Literal

from pydantic import Field

from cortexzoo.specs.base import Name, NamedSpec, PositiveFloat, PositiveInt, Spec
from cortexzoo.specs.provenance import OURS

Expectation = Literal["skip", "rollback", "stop", "harmless", "undetected"]


class FaultBase(Spec):
    """Common to all faults."""

    step: PositiveInt = Field(description="The optimiser step at which it is injected, once.")
    expect: Expectation = Field(
        description="The expected outcome with the guards on. skip: the step is refused; rollback: back to a "
        "recovery point; stop: training ends with one line, its last checkpoint intact; harmless: the run ends bitwise "
        "as without the fault; undetected: no guard can detect it, and it does no harm."
    )
    expect_in_recall: Annotated[Expectation | None, OURS] = Field(
        None,
        description="The expected outcome where the objective is recall, if it differs: that scores answers only, and "
        "each document begins with an empty memory.",
    )
    harms: bool = Field(
        description="With the guards off it must end training, leave something that is not finite, or raise the final "
        "loss by more than 5 %."
    )
    reason: Annotated[str, OURS] = Field("", description="Why this outcome is expected.")

    def expected(self, objective: str) -> Expectation:
        """The expected outcome with an objective of this kind."""
        if objective == "recall" and self.expect_in_recall is not None:
            return self.expect_in_recall
        return self.expect


class NonFinite(FaultBase):
    """NaN or infinity in the loss, in one element of a gradient, of a weight or of a moment, or in the memory.

    With the objective recall it is in the memory with which the documents of the next step begin.
    """

    kind: Literal["non_finite"] = "non_finite"
    place: Literal["loss", "gradient", "weight", "moment", "memory"]
    value: Annotated[Literal["nan", "inf"], OURS] = "nan"
    rank: Annotated[Annotated[int, Field(ge=0)] | None, OURS] = Field(
        None,
        description="The process that it affects, from 0; training needs at least 2. Null: all.",
    )


class Scaled(FaultBase):
    """Loss (and with it every gradient), gradient or learning rate multiplied by `factor` for one step."""

    kind: Literal["scaled"] = "scaled"
    place: Literal["loss", "gradient", "learning_rate"]
    factor: PositiveFloat


class BitFlip(FaultBase):
    """One bit of one weight is flipped: 0 is the lowest of the mantissa, 23 of the exponent, 31 the sign."""

    kind: Literal["bit_flip"] = "bit_flip"
    bit: Annotated[int, Field(ge=0, le=31)]


class BadBatch(FaultBase):
    """One batch contains something other than text: random bytes, padding (zeros), no row at all, or no byte."""

    kind: Literal["bad_batch"] = "bad_batch"
    content: Literal["random", "padding", "empty", "out_of_vocabulary"]


class RepeatedBatch(FaultBase):
    """The batch of the step is served again in the `times` steps after it: a reader that is stuck."""

    kind: Literal["repeated_batch"] = "repeated_batch"
    times: Annotated[PositiveInt, OURS] = 1


class OptimizerReset(FaultBase):
    """The optimiser's moments are zeroed."""

    kind: Literal["optimizer_reset"] = "optimizer_reset"


class RandomReset(FaultBase):
    """Random generators restart, as after a resume that does not restore their generators."""

    kind: Literal["random_reset"] = "random_reset"


class Kill(FaultBase):
    """SIGKILL in the middle of a step, or while a checkpoint is being written."""

    kind: Literal["kill"] = "kill"
    during: Literal["step", "save"]


class TruncatedCheckpoint(FaultBase):
    """The last checkpoint loses the second half of its largest file, then the process is killed."""

    kind: Literal["truncated_checkpoint"] = "truncated_checkpoint"


class FullDisk(FaultBase):
    """From the step on, no checkpoint can be written to its end: no space is left on the device."""

    kind: Literal["full_disk"] = "full_disk"


class TrackerError(FaultBase):
    """A tracker raises at the step."""

    kind: Literal["tracker_error"] = "tracker_error"


FaultSpec = Annotated[
    NonFinite | Scaled | BitFlip | BadBatch | RepeatedBatch | OptimizerReset | RandomReset | Kill
    | TruncatedCheckpoint | FullDisk | TrackerError,
    Field(discriminator="kind"),
]  # fmt: skip


class FaultsSpec(NamedSpec):
    """Faults by name. `train --inject` injects all of them into one run; `drill` trains one run for each."""

    kind: Literal["faults"] = "faults"
    faults: dict[Name, FaultSpec] = Field(min_length=1)
