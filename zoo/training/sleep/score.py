"""How well a model does before and after a sleep, and whether that is good enough for the sleep to stay."""

import math
from dataclasses import asdict, dataclass

from specs.sleep import AcceptAlways, AcceptanceSpec, AcceptHeldOut


@dataclass(frozen=True)
class Score:
    """What the training objective measures on data that nothing is trained on."""

    loss: float
    """Held-out loss, in nats."""
    recall: float | None = None
    """Share of held-out questions to the memory that are answered rightly; None: the objective asks none."""

    def as_json(self) -> dict[str, float | None]:
        """For `Score(**…)`."""
        return asdict(self)


def objection(acceptance: AcceptanceSpec, reference: Score, score: Score) -> str | None:
    """Why a sleep that ended with `score` must be taken back, `reference` before the first one; None: it may stay."""
    if not math.isfinite(score.loss):
        return f"the held-out loss is {score.loss}"
    match acceptance:
        case AcceptAlways():
            return None
        case AcceptHeldOut(max_loss_ratio=ratio, max_recall_drop=drop):
            highest = ratio * reference.loss
            if not score.loss <= highest:
                return f"the held-out loss is {score.loss:.6g}, at most {highest:.6g} is allowed"
            if score.recall is None or reference.recall is None:
                return None
            lowest = reference.recall - drop
            if not score.recall >= lowest:
                return f"recall is {score.recall:.6g}, at least {lowest:.6g} is required"
            return None
