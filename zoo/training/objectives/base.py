"""What training needs: the examples of every step, their loss, and how well held-out ones are done."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState, ModelOutput
from cortexzoo.zoo.training.policies.base import HeldOutScore, Policy, Trainer


@dataclass(frozen=True)
class Examples:
    """Sequences side by side; each token but the first is the target of the one before it."""

    tokens: Int[Tensor, "... rows time_and_target"]
    scored: Bool[Tensor, "... rows time"] | None = None
    """At which inputs the next token counts; None: at all."""
    places: Int[Tensor, "... rows"] | None = None
    """Where each row begins in the training text, as `Objective.loss` gives it to the memory; None: in no text."""


class Objective(ABC):
    """One way to train. Every example follows from the experiment and the step's number alone.

    What an objective remembers from step to step is the state of one of its `policies`.
    """

    sha256: str
    """Hex digest of the data."""
    tokenizer: str | None = None
    """The `tokenizer.json` in whose tokens the data is; None: a token is a byte, or a task has its own."""
    step_policies: Sequence[Policy] = ()
    """They change the weights of the step that was taken, before a sleep."""
    weight_policies: Sequence[Policy] = ()
    """They change weights after a sleep, before a recovery point keeps them."""
    policies: Sequence[Policy] = ()
    """They act once a step is final, before the probe."""

    @abstractmethod
    def examples(self, number: int) -> Examples:
        """This process's rows of every micro-batch of optimiser step `number`: tokens [accumulation, rows, T + 1]."""

    @abstractmethod
    def loss(
        self,
        model: MemoryLanguageModel[Any],
        tokens: Int[Tensor, "rows time_and_target"],
        scored: Bool[Tensor, "rows time"] | None,
        state: MemoryState,
        place: int,
    ) -> tuple[Float[Tensor, ""], ModelOutput[Any]]:
        """The loss of one micro-batch, in nats, and the output. `place` counts micro-batches from the run's first."""

    @abstractmethod
    def probe(self) -> Examples:
        """The fixed held-out examples on which swings are looked for: tokens [rows, T + 1]."""

    @abstractmethod
    def held_out(self, trainer: Trainer) -> HeldOutScore:
        """Every process must call it; model, memory and generators are left as they were."""

    def references(self) -> dict[str, Any]:
        """What a model that has learned nothing reaches, by the result's field."""
        return {}

    def conclusions(self, trainer: Trainer) -> dict[str, Any]:
        """What is known only at the end of a finished run, by the result's field."""
        return {}


class TrainingPass(nn.Module):
    """Model and loss as one module, so that a training step is a single forward call for whoever wraps it."""

    def __init__(self, model: MemoryLanguageModel[Any], objective: Objective) -> None:
        super().__init__()
        self.model = model
        self._objective = objective

    def forward(
        self, tokens: Tensor, scored: Tensor | None, state: MemoryState, place: int
    ) -> tuple[Tensor, ModelOutput[Any]]:
        """As `Objective.loss`."""
        return self._objective.loss(self.model, tokens, scored, state, place)
