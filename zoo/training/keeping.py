"""Which checkpoints are kept: the best by held-out loss, and the last."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.training.policy import Policy, Step
from zoo.training.validation import Validation

if TYPE_CHECKING:
    from zoo.training.loop import Trainer


class KeepCheckpoints(Policy):
    """Saves `best` whenever validation improved, `last` every `every` steps, and `last` when the phase ends."""

    name = "checkpoints"

    def __init__(self, folder: Path, validation: Validation, every: int) -> None:
        self.folder = folder
        self.validation = validation
        self.every = every
        self._last_saved = 0

    def step_taken(self, trainer: "Trainer", step: Step) -> None:
        if step.number % self.every == 0:
            self._save_last(trainer)
        if self.validation.best_step == step.number:
            self._save(trainer, "best")

    def step_refused(self, trainer: "Trainer", step: Step) -> None:
        self.step_taken(trainer, step)

    def phase_ended(self, trainer: "Trainer", step: Step) -> None:
        if self._last_saved != trainer.position:
            self._save_last(trainer)

    def state_dict(self) -> dict[str, Any]:
        return {"last_saved": self._last_saved}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._last_saved = state["last_saved"]

    def _save_last(self, trainer: "Trainer") -> None:
        self._last_saved = trainer.position
        self._save(trainer, "last")

    def _save(self, trainer: "Trainer", name: str) -> None:
        trainer.save(self.folder / name)
        trainer.event("checkpoint", {"name": name})
