"""Guards of a training run: gradient clipping, loss-spike detection, recovery checkpoints."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from cortexzoo.specs.base import Fraction, PositiveFloat, PositiveInt, Spec
from cortexzoo.specs.plugins import extended
from cortexzoo.specs.provenance import MEASURED_GUARDS, OURS, PHASE_1, Source

KUMAR = Source("ZClip, Kumar et al. 2025, arXiv:2504.02507", "paper")
WANG = Source("AdaGC, Wang et al. 2025, arXiv:2502.11034", "paper")
BROCK = Source("adaptive gradient clipping, Brock et al. 2021, arXiv:2102.06171", "paper")

SpikeAction = Literal["skip", "rollback"]


class NormClipping(Spec):
    """Scale the gradient down to `max_norm` when its global L2 norm exceeds it."""

    kind: Literal["norm"] = "norm"
    max_norm: Annotated[PositiveFloat, PHASE_1] = 0.5


class NoClipping(Spec):
    """Gradients are used as they are."""

    kind: Literal["none"] = "none"


class AdaptiveClipping(Spec):
    """Clip to a percentile of the last gradient norms, and far below it when a norm is a spike."""

    kind: Literal["adaptive"] = "adaptive"
    max_norm: Annotated[PositiveFloat, PHASE_1] = Field(
        0.5, description="Highest threshold, and the threshold until `min_history` norms are known."
    )
    percentile: Annotated[float, Field(gt=0, le=100), OURS] = 90.0
    window: Annotated[PositiveInt, OURS] = Field(100, description="Number of norms in the history.")
    min_history: Annotated[PositiveInt, OURS] = 10
    spike_ratio: Annotated[float, Field(gt=1), PHASE_1] = Field(
        3.0, description="A norm above this multiple of the average is a spike."
    )
    spike_divisor: Annotated[float, Field(ge=1), PHASE_1] = Field(
        10.0, description="By how much the threshold is lowered for a step whose norm is a spike."
    )


class ZClip(Spec):
    """Clip a norm whose z-score over exponential averages exceeds `z_threshold`; the further out, the more strongly."""

    kind: Literal["zclip"] = "zclip"
    z_threshold: Annotated[PositiveFloat, KUMAR] = 2.5
    decay: Annotated[Fraction, KUMAR] = Field(0.97, description="α of the exponential averages.")
    warmup: Annotated[PositiveInt, KUMAR] = Field(25, description="Steps in which norms are only collected.")


class AdaGC(Spec):
    """Clip each parameter's gradient to `ratio` times the exponential average of its own clipped norms."""

    kind: Literal["adagc"] = "adagc"
    ratio: Annotated[PositiveFloat, WANG] = 1.05
    decay: Annotated[Fraction, WANG] = Field(0.98, description="β of the exponential average.")
    warmup: Annotated[PositiveInt, WANG] = Field(100, description="Steps of global clipping to `warmup_max_norm`.")
    warmup_max_norm: Annotated[PositiveFloat, WANG] = 1.0


class AGC(Spec):
    """Clip each unit's gradient to `ratio` times the norm of the unit's weights."""

    kind: Literal["agc"] = "agc"
    ratio: Annotated[PositiveFloat, BROCK] = 0.01
    eps: Annotated[PositiveFloat, BROCK] = Field(1e-3, description="Least weight norm, so that zeros can move.")


ClippingSpec = Annotated[
    NormClipping | NoClipping | AdaptiveClipping | ZClip | AdaGC | AGC, Field(discriminator="kind")
]
if not TYPE_CHECKING:
    ClippingSpec = extended(ClippingSpec, "clipping")


class NoSpikeDetection(Spec):
    """Spikes are counted by the Phase 1 rule for the monitor; no action is taken."""

    kind: Literal["none"] = "none"


class AverageRatio(Spec):
    """The Phase 1 rule: a loss above `ratio` times the average of the last accepted losses is a spike."""

    kind: Literal["average_ratio"] = "average_ratio"
    ratio: Annotated[float, Field(gt=1), PHASE_1] = 5.0
    window: Annotated[PositiveInt, OURS] = 100
    min_history: Annotated[PositiveInt, OURS] = 10
    rebaseline_after: Annotated[PositiveInt, OURS] = Field(
        8, description="Finite refusals in a row after which the new level is accepted and the history is cleared."
    )
    action: Annotated[SpikeAction, PHASE_1] = "rollback"


class RobustDeviation(Spec):
    """A loss or log gradient norm far above the median of the last accepted ones, in robust standard deviations."""

    kind: Literal["robust"] = "robust"
    deviations: Annotated[PositiveFloat, MEASURED_GUARDS] = Field(
        8.0, description="Robust standard deviations (1.4826 · MAD) above the median: a spike of the loss."
    )
    gradient_deviations: Annotated[PositiveFloat, MEASURED_GUARDS] = Field(
        10.0, description="As `deviations`, for the logarithm of the gradient norm."
    )
    window: Annotated[PositiveInt, OURS] = 128
    min_history: Annotated[PositiveInt, OURS] = 20
    relative_floor: Annotated[PositiveFloat, MEASURED_GUARDS] = Field(
        0.02, description="Least deviation, relative to the median loss; for log gradient norms absolute."
    )
    rebaseline_after: Annotated[PositiveInt, OURS] = Field(
        8, description="Finite refusals in a row after which the new level is accepted and the history is cleared."
    )
    action: Annotated[SpikeAction, OURS] = "skip"
    update_factor: Annotated[float, Field(gt=1), MEASURED_GUARDS] = Field(
        10.0,
        description="An update of the weights above so many times the usual one for its learning rate is undone, where "
        "there is a recovery checkpoint to return to.",
    )


SpikeSpec = Annotated[NoSpikeDetection | AverageRatio | RobustDeviation, Field(discriminator="kind")]


class NoRecovery(Spec):
    """No recovery: training ends when numeric failures persist."""

    kind: Literal["none"] = "none"


class RecoveryCheckpoints(Spec):
    """Keep the whole state every `every` taken steps; a rollback restores it and skips the data that caused it."""

    kind: Literal["checkpoints"] = "checkpoints"
    every: Annotated[PositiveInt, OURS] = 50
    on_disk: Annotated[bool, PHASE_1] = Field(False, description="Write each one to disk too, as the last checkpoint.")
    storm_limit: Annotated[PositiveInt, OURS] = Field(
        3, description="Number of rollbacks within `storm_window` steps that ends training."
    )
    storm_window: Annotated[PositiveInt, OURS] = 200


RecoverySpec = Annotated[NoRecovery | RecoveryCheckpoints, Field(discriminator="kind")]
