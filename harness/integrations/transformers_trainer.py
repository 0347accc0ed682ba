"""Guards inside transformers' Trainer: a callback."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from cortexzoo.harness.checking.modules.causal_lm import CausalLM
from cortexzoo.harness.integrations.property_watch import USUAL, PropertyWatch
from cortexzoo.specs import RecipeSpec
from cortexzoo.specs.properties import PropertyName
from cortexzoo.zoo.training.own_loop import LoopGuard
from cortexzoo.zoo.training.recorder import Recorder


class GuardCallback(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Refuses, clips and rolls back steps as the recipe states: `Trainer(…, callbacks=[GuardCallback("robust")])`.

    Give `TrainingArguments(max_grad_norm=0)`, so that the recipe's clipping is the only one. What the guards count is
    added to the Trainer's logs. `TrainingStopped` ends `train()` where a guard gives up.
    """

    def __init__(self, recipe: RecipeSpec | str = "robust", recorder: Recorder | None = None) -> None:
        self.recipe, self.recorder = recipe, recorder
        self.guard: LoopGuard | None = None
        self._hook: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Put the guard around the optimiser, and listen to the model's losses."""
        model: nn.Module = kwargs["model"]
        optimizer = kwargs["optimizer"]
        optimizer = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps it
        self.guard = LoopGuard(model, optimizer, self.recipe, recorder=self.recorder)
        self.guard.install()
        self._hook = model.register_forward_hook(self._listen)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stop listening."""
        self._hook.remove()

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Add what the guards count."""
        logs = kwargs.get("logs")
        if logs is not None and self.guard is not None and self.guard.last is not None:
            counted = {name: value for name, value in self.guard.last.metrics.items() if name != "train/loss"}
            logs.update(counted)
            state.log_history[-1].update(counted)

    def _listen(self, model: nn.Module, _inputs: Any, output: Any) -> None:
        loss = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
        if model.training and self.guard is not None and isinstance(loss, Tensor):
            self.guard.observe(loss.mean())


class PropertyCallback(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Tries properties of a causal language model every so many steps; `options` are those of `PropertyWatch`."""

    def __init__(self, properties: Sequence[PropertyName] = USUAL, **options: Any) -> None:
        self.properties, self.options = properties, options
        self.watch: PropertyWatch | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Raises `BadInput` for a property that does not apply."""
        self.watch = PropertyWatch(CausalLM(kwargs["model"]), self.properties, **self.options)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Count the step."""
        assert self.watch is not None
        self.watch.step()
