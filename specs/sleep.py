"""Sleep: training pauses at regular intervals, and the model is trained briefly on dreams.

The user's Cortex v2 command has one option for it, `--sleep_interval`: here `recipe.sleep.every`. What its sleep phase
does has numbers and no options there; here they are the defaults of `kind: noise`: 8 AdamW steps (`steps`) at 1e-4
(`learning_rate`) on 4 (`batch_size`) dreams of 64 random tokens (`length`), clipped at 1.0 (`clip`).
"""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from cortexzoo.specs.base import PositiveFloat, PositiveInt, Spec
from cortexzoo.specs.provenance import OURS, USER_RUN, Source
from cortexzoo.specs.slow_store import CONSOLIDATION

EWC = Source("elastic weight consolidation, Kirkpatrick et al. 2017, arXiv:1612.00796", "paper")
HARMLESS = Source("bounds of the property sleep_harms_nothing", "ours")


class AcceptAlways(Spec):
    """The weight changes of a sleep are kept as long as the held-out loss is finite."""

    kind: Literal["always"] = "always"


class AcceptHeldOut(Spec):
    """Undone bit for bit unless loss and recall stay within bounds, against before this sleep and the first one."""

    kind: Literal["held_out"] = "held_out"
    max_loss_ratio: Annotated[PositiveFloat, HARMLESS] = Field(
        1.02, description="Highest held-out loss after a sleep, relative to before it and before the first one."
    )
    max_recall_drop: Annotated[float, Field(ge=0, le=1), HARMLESS] = Field(
        0.02, description="Largest fall of recall, where the training objective measures any, against the same two."
    )


AcceptanceSpec = Annotated[AcceptAlways | AcceptHeldOut, Field(discriminator="kind")]


class NoSleep(Spec):
    """Training never pauses."""

    kind: Literal["never"] = "never"


class SleepBase(Spec):
    """Common to all kinds of sleep."""

    every: Annotated[PositiveInt, USER_RUN] = Field(512, description="Optimiser steps from one sleep to the next.")


class DreamBase(SleepBase):
    """Common to all kinds that train on dreams: a separate AdamW behind its own finite gate and clipping."""

    steps: Annotated[PositiveInt, USER_RUN] = Field(8, description="Updates of one sleep.")
    learning_rate: Annotated[PositiveFloat, USER_RUN] = 1e-4
    batch_size: Annotated[PositiveInt, USER_RUN] = Field(4, description="Dreams of one update.")
    clip: Annotated[PositiveFloat, USER_RUN] = Field(1.0, description="Highest global L2 norm of an update's gradient.")
    kl_weight: Annotated[float, Field(ge=0), OURS] = Field(
        0.0, description="Weight of KL(before ‖ now) to the frozen self from before this sleep, on the dreams."
    )
    ewc_weight: Annotated[float, Field(ge=0), EWC] = Field(
        0.0, description="Weight of ½ Σ F (θ − θ before)², F the diagonal Fisher information of examples seen."
    )
    reservoir: Annotated[PositiveInt, OURS] = Field(
        32, description="Training examples kept, a uniform sample of those seen, where replay or EWC uses them."
    )
    acceptance: Annotated[AcceptanceSpec, OURS] = AcceptHeldOut.defaults()

    @property
    def keeps_examples(self) -> bool:
        """Whether anything reads the reservoir."""
        return self.ewc_weight > 0


class NoiseSleep(DreamBase):
    """Dreams are uniformly random tokens; the loss is the cross-entropy of the next one. The user's mechanism."""

    kind: Literal["noise"] = "noise"
    length: Annotated[PositiveInt, USER_RUN] = Field(64, description="Tokens of a dream, without its last target.")


class ReplaySleep(DreamBase):
    """Dreams are whole training examples out of the reservoir; the loss is that of their scored targets."""

    kind: Literal["replay"] = "replay"

    @property
    def keeps_examples(self) -> bool:
        return True


class GeneratedSleep(DreamBase):
    """Dreams are sampled from the model itself, after a prompt of a few random tokens; the prompt is not scored."""

    kind: Literal["generated"] = "generated"
    length: Annotated[PositiveInt, USER_RUN] = Field(64, description="Tokens of a dream, without its last target.")
    temperature: Annotated[PositiveFloat, OURS] = 1.0
    prompt_length: Annotated[PositiveInt, OURS] = Field(4, description="Random tokens that a dream begins with.")

    @model_validator(mode="after")
    def _something_is_sampled(self) -> Self:
        if self.prompt_length > self.length:
            raise ValueError(f"prompt_length must be at most length = {self.length}, got {self.prompt_length}")
        return self


class ConsolidateSleep(SleepBase):
    """What the day's texts wrote into fast weights is read again and moved into the slow store, by one linear solve.

    No weight of the base or of a sidecar changes. Needs a variant with a slow store.
    """

    kind: Literal["consolidate"] = "consolidate"
    least_write: Annotated[float, Field(ge=0, lt=2), CONSOLIDATION] = Field(
        0.1, description="A token is moved whose strongest write is above this."
    )
    ridge: Annotated[PositiveFloat, CONSOLIDATION] = Field(3e-3, description="λ of the solve (C + λ I)⁻¹ B.")
    same_key: Annotated[float, Field(gt=0, le=1), CONSOLIDATION] = Field(
        0.9,
        description="Keys of one sleep whose features have at least this cosine count as equal; the last one is kept.",
    )
    keep_curvature: Annotated[bool, CONSOLIDATION] = Field(
        True, description="Keep C over all sleeps; false: earlier sleeps are kept by the weights alone."
    )
    reservoir: Annotated[PositiveInt, OURS] = Field(
        32,
        description="Training examples that are read again, a uniform sample of those since the last sleep.",
    )
    acceptance: Annotated[AcceptanceSpec, OURS] = AcceptHeldOut.defaults()

    @property
    def keeps_examples(self) -> bool:
        return True


Dreaming = NoiseSleep | ReplaySleep | GeneratedSleep
"""Every kind that trains on dreams."""

DREAMS: dict[str, type[Dreaming]] = {dreaming.model_fields["kind"].default: dreaming for dreaming in get_args(Dreaming)}
"""The classes of these kinds, by kind."""

Sleeping = NoiseSleep | ReplaySleep | GeneratedSleep | ConsolidateSleep
"""Every kind that does anything."""

SleepSpec = Annotated[
    NoSleep | NoiseSleep | ReplaySleep | GeneratedSleep | ConsolidateSleep, Field(discriminator="kind")
]
