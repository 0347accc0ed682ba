"""Recovery checkpoints: a state to return to when refusing a step is not enough."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from cortexzoo.specs.guards import RecoveryCheckpoints
from cortexzoo.zoo.errors import TrainingStopped
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer
from cortexzoo.zoo.training.state.recovery_point import Bounds, RecoveryPoint, first_non_finite


class Recovery(Policy):
    """Keeps one recovery point, renewed every `every` taken steps, and returns to it when a policy requests it.

    Reasons to return too are, after each step, a weight far larger than any in the point, and before a point is kept,
    after a refused step, and when the run ends, a weight, moment or memory that is not finite. A rollback brings back
    everything but the place in the data, so training continues with the batch after the harmful one. So many rollbacks
    within a window of steps end training.
    """

    name = "recovery"

    def __init__(self, spec: RecoveryCheckpoints) -> None:
        self.spec = spec
        self.rollbacks = 0
        self.point: RecoveryPoint | None = None
        self._bounds: Bounds | None = None
        """Of the point's weights, once they are needed."""
        self._recent: list[int] = []
        """Steps of the last rollbacks."""

    def phase_began(self, trainer: Trainer) -> None:
        if self.point is None:
            self.point = RecoveryPoint.of(trainer)

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        assert self.point is not None
        cause = step.undone or self._outgrown(trainer)
        if trainer.ranks.any_rank([cause is not None])[0]:
            self._roll_back(trainer, step, cause or "requested by another process")
        elif trainer.taken - self.point.taken >= self.spec.every and self._is_whole(trainer, step):
            self.point, self._bounds = RecoveryPoint.of(trainer), None
        self._report(step)

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        if trainer.ranks.any_rank([step.rollback])[0]:
            self._roll_back(trainer, step, step.refused or "requested by another process")
        else:
            self._is_whole(trainer, step)
        self._report(step)

    def phase_ended(self, trainer: Trainer, step: Step) -> None:
        self._is_whole(trainer, step)

    @property
    def renewed_at(self) -> int:
        """The step at which the point was taken; 0 for the start."""
        return 0 if self.point is None else self.point.position

    def results(self) -> dict[str, Any]:
        return {"rollbacks": self.rollbacks}

    def state_dict(self) -> dict[str, Any]:
        point = None if self.point is None else self.point.description()
        return {"rollbacks": self.rollbacks, "recent": self._recent, "point": point}

    def load_state(self, trainer: Trainer, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.rollbacks, self._recent = values["rollbacks"], list(values["recent"])
        if values["point"] is not None:
            self.point, self._bounds = RecoveryPoint.from_parts(trainer, values["point"], tensors), None

    def tensors(self) -> dict[str, Tensor]:
        return {} if self.point is None else self.point.tensors()

    def _is_whole(self, trainer: Trainer, step: Step) -> bool:
        """Whether everything is finite and of possible size, on every process; if not, it is no more afterwards."""
        flaw = self._flaw(trainer)
        if not trainer.ranks.any_rank([flaw is not None])[0]:
            return True
        self._roll_back(trainer, step, flaw or "something on another process is damaged")
        return False

    def _flaw(self, trainer: Trainer) -> str | None:
        if (found := first_non_finite(trainer)) is not None:
            return f"{found} is not finite"
        return self._outgrown(trainer)

    def _outgrown(self, trainer: Trainer) -> str | None:
        assert self.point is not None
        weights = dict(trainer.model.named_parameters())
        if self._bounds is None:
            self._bounds = Bounds({name: self.point.weights[name] for name in weights})
        return self._bounds.flaw_in(weights)

    def _roll_back(self, trainer: Trainer, step: Step, cause: str) -> None:
        assert self.point is not None
        undone = trainer.taken - self.point.taken
        self.point.restore(trainer)
        step.held_out = None  # that of the weights that are gone
        self.rollbacks += 1
        first = step.number - self.spec.storm_window
        self._recent = [at for at in self._recent if at > first] + [step.number]
        trainer.event("rollback", {"cause": cause, "to_step": self.point.position, "undone": undone})
        if len(self._recent) >= self.spec.storm_limit:
            storm = f"{len(self._recent)} rollbacks within {self.spec.storm_window} steps, the last because {cause}"
            trainer.fail(TrainingStopped(step.number, storm))

    def _report(self, step: Step) -> None:
        step.metrics["stability/spike_recoveries"] = self.rollbacks
