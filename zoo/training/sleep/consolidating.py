"""A sleep that consolidates: one linear solve in place of updates."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from cortexzoo.specs.sleep import ConsolidateSleep
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.training.evaluation import undisturbed
from cortexzoo.zoo.training.policies.base import Trainer
from cortexzoo.zoo.training.sleep.reservoir import Reservoir
from cortexzoo.zoo.training.sleep.transfer import consolidate


@dataclass
class Solved:
    """What a consolidating sleep did, as a sleep of updates counts it."""

    taken: int = 0
    """1 when the solve was made."""
    refused: int = 0
    """1 when it was not, for numbers that are not finite."""
    losses: list[float] = field(default_factory=list)


class ConsolidationPhase:
    """Moves what the examples of a day wrote into the slow store; every process makes the same solve."""

    def __init__(self, trainer: Trainer, spec: ConsolidateSleep, day: Reservoir) -> None:
        self.trainer = trainer
        self.spec = spec
        self.day = day
        self.updates = Solved()

    def dream(self, progress: Callable[[int, int], None]) -> bool:
        """Consolidate; False: a stop was asked for, before or meanwhile."""
        model = self.trainer.model
        assert isinstance(model, Hybrid), "the experiment is validated: only a hybrid has a slow store"
        if self.trainer.is_over():
            return False
        progress(0, 1)
        try:
            with undisturbed(model):
                consolidate(model, [example.tokens[None] for example in self.day.examples], self.spec)
        except LinAlgError:
            self.updates.refused += 1
        else:
            self.updates.taken += 1
        return not self.trainer.is_over()
