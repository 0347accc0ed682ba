"""Which checkpoints are kept: the best by held-out loss, the last, and as many before it as wanted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from cortexzoo.zoo import checkpoints
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer
from cortexzoo.zoo.training.policies.guards.recovery import Recovery
from cortexzoo.zoo.training.policies.measuring.validation import Validation

BEST, LAST, OLDER = "best", "last", "step-"


class KeepCheckpoints(Policy):
    """Saves `best` whenever validation improved, `last` every `every` steps, and `last` when the phase ends.

    Of the `last` ones before, the newest keep_last − 1 stay as `step-<number>`. With `recovery` each recovery point is
    saved as `last` too. A checkpoint is announced before it is written, and `last` is written last: so whoever resumes
    from it finds everything recorded that the run did until then.
    """

    name = "checkpoints"

    def __init__(
        self, folder: Path, validation: Validation, every: int, keep_last: int = 1, recovery: Recovery | None = None
    ) -> None:
        self.folder = folder
        self.validation = validation
        self.every = every
        self.keep_last = keep_last
        self.recovery = recovery
        self._last_saved = 0

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        if self.validation.best_step == step.number:
            trainer.event("checkpoint", {"name": BEST})
            trainer.save(self.folder / BEST)
        renewed = self.recovery is not None and self.recovery.renewed_at == step.number
        if step.number % self.every == 0 or renewed:
            self._save_last(trainer)

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        self.step_taken(trainer, step)

    def phase_ended(self, trainer: Trainer, step: Step) -> None:
        if self._last_saved != trainer.position:
            self._save_last(trainer)
        else:
            self._prune(trainer)  # a process that was killed may not have come to it

    def state_dict(self) -> dict[str, Any]:
        return {"last_saved": self._last_saved}

    def load_state(self, trainer: Trainer, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self._last_saved = values["last_saved"]

    def _save_last(self, trainer: Trainer) -> None:
        before, self._last_saved = self._last_saved, trainer.position
        trainer.event("checkpoint", {"name": LAST})
        keep = self.folder / f"{OLDER}{before:08d}" if self.keep_last > 1 and before else None
        trainer.save(self.folder / LAST, keep)
        self._prune(trainer)

    def _prune(self, trainer: Trainer) -> None:
        if trainer.ranks.is_main:
            try:
                checkpoints.prune(self.folder, OLDER, self.keep_last - 1)
            except OSError as problem:
                trainer.event("checkpoint_not_removed", {"problem": problem.strerror or str(problem)})
