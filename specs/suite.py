"""Which properties a trained model is held to, within which bounds, and which verdicts are expected."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import Field

from specs.base import NamedSpec, Spec
from specs.provenance import OURS, PHASE_1, Source

PropertyName = Literal[
    "causality",
    "batch_isolation",
    "repeatability",
    "finite_gradients",
    "every_parameter_learns",
    "gate_balance",
    "bounded_loss_ratio",
    "better_than_counting",
]
PROPERTY_NAMES: tuple[PropertyName, ...] = get_args(PropertyName)

Verdict = Literal["pass", "fail", "error", "skipped"]


@dataclass(frozen=True, slots=True)
class PropertyInfo:
    """What a property claims: a clause, the bound on the observed value with direction and unit, and its source."""

    clause: str
    bound: float
    direction: Literal["at_most", "at_least", "below"]
    unit: str
    source: Source


_PRECISION = Source("fp32 on a CPU, stability.md section 4", "ours")

PROPERTIES: dict[PropertyName, PropertyInfo] = {
    "causality": PropertyInfo(
        "editing later tokens leaves earlier logits as they were", 0.0, "at_most", "max |Δ logit|", _PRECISION
    ),
    "batch_isolation": PropertyInfo(
        "a row's logits and gradients ignore the other rows", 0.0, "at_most", "max |Δ logit|", _PRECISION
    ),
    "repeatability": PropertyInfo(
        "evaluating twice gives the same logits and leaves weights and memory as they were",
        0.0, "at_most", "max |Δ logit|", OURS,
    ),
    "finite_gradients": PropertyInfo(
        "loss and gradients are finite at every tried length", 0.0, "at_most", "non-finite values", OURS
    ),
    "every_parameter_learns": PropertyInfo(
        "every trainable parameter gets a gradient", 0.0, "at_most", "parameters without gradient", OURS
    ),
    "gate_balance": PropertyInfo(
        "each live source keeps a mean gate share", 0.05, "at_least", "smallest mean share",
        Source("balanced contributions, CortexGPT Phase 1 stability document", "user"),
    ),
    "bounded_loss_ratio": PropertyInfo(
        "the probe loss never rises far above the lowest value before it", 1.5, "below", "loss ratio", PHASE_1
    ),
    "better_than_counting": PropertyInfo(
        "held-out loss is below that of a bigram model of the training text", 0.0, "below", "nats above bigram", OURS
    ),
}  # fmt: skip


class Check(Spec):
    """One property of a suite: the verdict that is expected, and a bound other than the property's own."""

    expect: Annotated[Literal["pass", "fail", "skipped"], OURS] = "pass"
    bound: Annotated[float | None, OURS] = Field(None, description="Null: the property's default bound.")
    reason: str = Field("", description="Why another verdict than `pass` is expected.")


class SuiteSpec(NamedSpec):
    """A set of properties with the verdicts that are expected of a variant."""

    kind: Literal["suite"] = "suite"
    properties: dict[PropertyName, Check] = Field(min_length=1)
