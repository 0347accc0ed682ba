"""How well a model does before and after a sleep, and whether that is good enough for the sleep to stay."""

import math
from dataclasses import dataclass, field

from cortexzoo.specs.sleep import AcceptAlways, AcceptanceSpec, AcceptHeldOut
from cortexzoo.zoo.training.policies.base import HeldOutScore


@dataclass(frozen=True)
class Score:
    """What the training objective measures on data that nothing is trained on."""

    loss: float
    """Held-out loss, in nats."""
    recall: float | None = None
    """Share of held-out questions to the memory that are answered rightly; None: the objective has none."""
    whole: HeldOutScore | None = field(default=None, compare=False, repr=False)
    """All that was measured with it, where it was."""

    @classmethod
    def of(cls, held_out: HeldOutScore) -> "Score":
        """What of a measurement decides on a sleep."""
        return cls(held_out.loss, held_out.recall, held_out)

    def as_json(self) -> dict[str, float | None]:
        """For `Score(**…)`."""
        return {"loss": self.loss, "recall": self.recall}


def objection(acceptance: AcceptanceSpec, first: Score, before: Score, after: Score) -> str | None:
    """Why a sleep that ended with the score `after` must be taken back; None: it may stay.

    It is compared with `first`, from before the run's first sleep, so that no harm adds up over many, and against
    `before`, from right before this one, so that it cannot undo what was learnt since the first.
    """
    if not math.isfinite(after.loss):
        return f"the held-out loss is {after.loss}"
    if isinstance(acceptance, AcceptAlways):
        return None
    return _harm(acceptance, first, after) or _harm(acceptance, before, after)


def _harm(bounds: AcceptHeldOut, reference: Score, score: Score) -> str | None:
    highest = bounds.max_loss_ratio * reference.loss
    if not score.loss <= highest:
        return f"the held-out loss is {score.loss:.6g}, at most {highest:.6g} is allowed"
    if score.recall is None or reference.recall is None:
        return None
    lowest = reference.recall - bounds.max_recall_drop
    if not score.recall >= lowest:
        return f"recall is {score.recall:.6g}, at least {lowest:.6g} is required"
    return None
