"""How to train: optimiser, schedule, guards, precision, and how often to consolidate, validate, probe and save."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cortexzoo.specs.alert import AlertSpec
from cortexzoo.specs.base import Fraction, NamedSpec, Neutral, PositiveFloat, PositiveInt, Spec
from cortexzoo.specs.guards import (
    AverageRatio,
    ClippingSpec,
    NoRecovery,
    NormClipping,
    NoSpikeDetection,
    RecoveryCheckpoints,
    RecoverySpec,
    SpikeSpec,
)
from cortexzoo.specs.objective import Continual, NextToken, NoReplay, ObjectiveSpec, ReservoirReplay
from cortexzoo.specs.parallel import DataParallel, FullySharded, ParallelSpec
from cortexzoo.specs.plasticity import HomeostasisSpec, NoHomeostasis, NoProtection
from cortexzoo.specs.provenance import OURS, PHASE_1, PROTOTYPE, RECALL
from cortexzoo.specs.sleep import NoSleep, SleepSpec


class RateFactors(Spec):
    """Learning-rate factors of parameter groups, relative to the recipe's rate."""

    short_term: Annotated[PositiveFloat, OURS, Neutral(1.0)] = 1.0
    long_term: Annotated[PositiveFloat, OURS, Neutral(1.0)] = 1.0
    consolidator: Annotated[PositiveFloat, OURS, Neutral(1.0)] = 1.0
    memory_gates: Annotated[PositiveFloat, OURS, Neutral(1.0)] = Field(
        1.0, description="The parameters for write strength and decay of a hybrid."
    )


class AdamWSpec(Spec):
    """AdamW with decoupled weight decay on matrices only (biases, norms and embeddings are not decayed)."""

    kind: Literal["adamw"] = "adamw"
    learning_rate: Annotated[PositiveFloat, PHASE_1] = 1e-4
    beta1: Annotated[Fraction, PROTOTYPE] = 0.9
    beta2: Annotated[Fraction, PHASE_1, Neutral(0.999)] = 0.98
    eps: Annotated[PositiveFloat, OURS] = 1e-8
    weight_decay: Annotated[float, Field(ge=0), PHASE_1] = 0.1
    rate_factors: Annotated[RateFactors, OURS] = RateFactors.defaults()


class Cosine(Spec):
    """Linear warmup over `warmup_ratio` of the steps, then half a cosine down to `final_ratio` of the rate."""

    kind: Literal["cosine"] = "cosine"
    warmup_ratio: Annotated[Fraction, PHASE_1] = 0.1
    final_ratio: Annotated[float, Field(ge=0, le=1), OURS] = 0.1


class CosineRestarts(Spec):
    """Cosine to zero, restarted after `period` steps; each period is `multiplier` times the one before. No warmup."""

    kind: Literal["cosine_restarts"] = "cosine_restarts"
    period: Annotated[PositiveInt, PROTOTYPE] = 1000
    multiplier: Annotated[PositiveInt, PROTOTYPE] = 2


class Constant(Spec):
    """Linear warmup over `warmup_ratio` of the steps, then a constant rate."""

    kind: Literal["constant"] = "constant"
    warmup_ratio: Annotated[Fraction, OURS] = 0.0


class Trapezoid(Spec):
    """Linear warmup, a constant rate, and a linear fall to `final_ratio` over the last `decay_ratio` of the steps."""

    kind: Literal["trapezoid"] = "trapezoid"
    warmup_ratio: Annotated[Fraction, RECALL] = 0.1
    decay_ratio: Annotated[Fraction, RECALL] = 0.5
    final_ratio: Annotated[float, Field(ge=0, le=1), RECALL] = 0.0

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.warmup_ratio + self.decay_ratio > 1:
            raise ValueError(
                f"decay_ratio must be at most 1 - warmup_ratio = {1 - self.warmup_ratio:g}, got {self.decay_ratio}"
            )
        return self


ScheduleSpec = Annotated[Cosine | CosineRestarts | Constant | Trapezoid, Field(discriminator="kind")]


class EveryInterval(Spec):
    """Consolidate short-term into long-term memory after every `every` optimiser steps."""

    kind: Literal["interval"] = "interval"
    every: Annotated[PositiveInt, PHASE_1] = 500


class AtRandom(Spec):
    """Consolidate after each optimiser step with this probability (as in the original)."""

    kind: Literal["random"] = "random"
    probability: Annotated[float, Field(gt=0, le=1), PROTOTYPE] = 0.1


class Never(Spec):
    """Long-term memory stays empty."""

    kind: Literal["never"] = "never"


ConsolidationSpec = Annotated[EveryInterval | AtRandom | Never, Field(discriminator="kind")]


class MonitorSpec(Spec):
    """What is measured during training, and how often, in optimiser steps."""

    probe_every: Annotated[PositiveInt, OURS] = Field(5, description="Evaluate the fixed probe batch.")
    validate_every: Annotated[PositiveInt, OURS] = 100
    validation_sequences: Annotated[PositiveInt | None, OURS] = Field(
        None, description="Maximum number of validation sequences, evenly spread; null: all."
    )
    checkpoint_every: Annotated[PositiveInt, OURS] = 100
    keep_last: Annotated[PositiveInt, OURS] = Field(
        1, description="Number of latest checkpoints to keep: `last`, and older ones as `step-<number>`."
    )
    refused_batches: Annotated[int, Field(ge=0), OURS] = Field(
        16, description="Maximum number of refused batches that are saved for the post-mortem."
    )
    swing_window: Annotated[PositiveInt, PHASE_1] = Field(50, description="Steps over which a loss swing is measured.")


class RecipeSpec(NamedSpec):
    """A training recipe. `steps` counts optimiser steps; one step sees batch_size · accumulation sequences.

    With the objective `recall`, a step has at most that many documents, and `sequence_length` is that of the plain text
    on which drift is measured.
    """

    kind: Literal["recipe"] = "recipe"
    steps: Annotated[PositiveInt, OURS] = 500
    batch_size: Annotated[PositiveInt, OURS] = 8
    sequence_length: Annotated[PositiveInt, OURS] = 128
    accumulation: Annotated[PositiveInt, OURS] = 1
    objective: Annotated[ObjectiveSpec, OURS] = NextToken.defaults()
    precision: Annotated[Literal["fp32", "bf16"], OURS] = Field("fp32", description="bf16: autocast, fp32 weights.")
    optimizer: Annotated[AdamWSpec, PHASE_1] = AdamWSpec.defaults()
    schedule: Annotated[ScheduleSpec, PHASE_1] = Cosine.defaults()
    clipping: Annotated[ClippingSpec, PHASE_1] = NormClipping.defaults()
    spikes: Annotated[SpikeSpec, PHASE_1] = Field(
        AverageRatio.defaults(), description="What counts as a loss spike, and the response."
    )
    recovery: Annotated[RecoverySpec, PHASE_1] = RecoveryCheckpoints.defaults()
    consolidation: Annotated[ConsolidationSpec, PHASE_1] = EveryInterval.defaults()
    sleep: Annotated[SleepSpec, OURS] = NoSleep.defaults()
    homeostasis: Annotated[HomeostasisSpec, OURS] = NoHomeostasis.defaults()
    monitor: Annotated[MonitorSpec, OURS] = MonitorSpec.defaults()
    alerts: Annotated[tuple[AlertSpec, ...], OURS] = Field(
        (), description="Conditions on metrics; when one becomes true, a line is printed and every tracker gets it."
    )
    parallel: Annotated[ParallelSpec, OURS] = Field(
        DataParallel.defaults(), description="How processes that torchrun or accelerate starts share the work."
    )

    @model_validator(mode="after")
    def _something_to_return_to(self) -> Self:
        spikes = self.spikes
        rolls_back = not isinstance(spikes, NoSpikeDetection) and spikes.action == "rollback"
        if rolls_back and isinstance(self.recovery, NoRecovery):
            raise ValueError(
                "spikes.action must be skip with `recovery: {kind: none}`, got rollback: "
                "there is no recovery checkpoint to return to"
            )
        return self

    @model_validator(mode="after")
    def _both_texts_are_read(self) -> Self:
        objective = self.objective
        if not isinstance(objective, Continual):
            return self
        if objective.earlier_steps >= self.steps:
            raise ValueError(
                f"objective.earlier_steps must be below steps = {self.steps}, got {objective.earlier_steps}: "
                "no step is left for the later text"
            )
        protected = not isinstance(objective.protection, NoProtection)
        if protected and isinstance(self.parallel, FullySharded):
            raise ValueError(
                "parallel.kind must be none or ddp with objective.protection, got fsdp2: "
                "it keeps a copy of all weights on every process"
            )
        replay = objective.replay
        if not isinstance(replay, NoReplay) and replay.rows >= self.batch_size:
            raise ValueError(
                f"objective.replay.rows must be below batch_size = {self.batch_size}, got {replay.rows}: "
                "no row is left for the later text"
            )
        trained_on = objective.earlier_steps * self.batch_size * self.accumulation
        if isinstance(replay, ReservoirReplay) and replay.windows > trained_on:
            raise ValueError(
                f"objective.replay.windows must be at most {trained_on}, the windows of {objective.earlier_steps} "
                f"steps on the earlier text, got {replay.windows}"
            )
        return self
