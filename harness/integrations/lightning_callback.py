"""Guards inside Lightning's Trainer: a callback."""

from typing import Any

import lightning

from cortexzoo.specs import RecipeSpec
from cortexzoo.zoo.training.own_loop import LoopGuard
from cortexzoo.zoo.training.recorder import Recorder


class GuardCallback(lightning.Callback):  # type: ignore[misc, unused-ignore]
    """Refuses, clips and rolls back steps as the recipe states: `Trainer(callbacks=[GuardCallback("robust")])`.

    For modules with one optimiser and automatic optimisation. Raises `TrainingStopped` out of `fit` where a guard
    gives up.
    """

    def __init__(self, recipe: RecipeSpec | str = "robust", recorder: Recorder | None = None) -> None:
        self.recipe, self.recorder = recipe, recorder
        self.guard: LoopGuard | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Put the guard around the optimiser. Raises `ValueError` for several optimisers."""
        optimizers = trainer.optimizers
        if len(optimizers) != 1:
            raise ValueError(f"the guard needs a module with one optimiser, got {len(optimizers)}")
        self.guard = LoopGuard(pl_module, optimizers[0], self.recipe, recorder=self.recorder)
        self.guard.install()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *arguments: Any
    ) -> None:
        """Log what the guards count."""
        if self.guard is not None and self.guard.last is not None:
            counted = {name: value for name, value in self.guard.last.metrics.items() if name != "train/loss"}
            pl_module.log_dict(counted)
