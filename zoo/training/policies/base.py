"""The moments of a training step, and the policies that act on them.

One optimiser step passes through these moments, in this order:

    batch_ready → (forward) → loss_known → (backward) → gradients_ready → gradients_known → (optimiser) → step_taken
                                  └───────────── refuse(reason) or roll_back(reason) ─────────────→ step_refused

`phase_began` and `phase_ended` frame the run. With accumulation, forward and backward repeat for every micro-batch, and
`loss_known` comes before the last backward. After a refusal no other policy is called, and a refusal on one process is
one on all. `step_taken` and `step_refused` reach all policies, which may add metrics until it is the recorder's turn.
After a rollback `rolled_back` of every policy is called. A policy is an object with its own state; the loop has no flag
for any of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn

from cortexzoo.specs.experiment import ExperimentSpec
from cortexzoo.specs.recipe import RecipeSpec
from cortexzoo.zoo.checkpoints import Storage
from cortexzoo.zoo.errors import TrainingError
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState
from cortexzoo.zoo.training.ranks import Ranks
from cortexzoo.zoo.training.recorder import Recorder


@dataclass
class Step:
    """One optimiser step in the making. Policies read it, may set `refused`, and add to `metrics`."""

    number: int
    """1 for the first optimiser step; steps already taken = number - 1."""
    tokens: Tensor | None = None
    """This process's rows of every micro-batch: [accumulation, rows, T + 1]. `batch_ready` may replace them."""
    scored: Tensor | None = None
    """At which inputs the next token counts: [accumulation, rows, T], bool; None: at all."""
    places: Tensor | None = None
    """Where each row begins in the training text: [accumulation, rows], on the CPU; None: in no text."""
    state: MemoryState | None = None
    """After the forward: the memory that the step ended with."""
    loss: float = float("nan")
    gradient_norm: float = float("nan")
    learning_rate: float = float("nan")
    readings: dict[str, float] = field(default_factory=dict)
    """The forward's readings, mean over micro-batches and processes."""
    metrics: dict[str, float] = field(default_factory=dict)
    refused: str | None = None
    """Why this step must not be taken; None: it may."""
    rollback: bool = False
    """Whether refusing is not enough: everything must return to the last recovery checkpoint."""
    undone: str | None = None
    """Why this step, though taken, must be taken back, with all since the last recovery checkpoint."""
    held_out: "HeldOutScore | None" = None
    """Of the model as the step leaves it, where a policy has measured it already."""

    def refuse(self, reason: str) -> None:
        """Keep the first reason: the step will not be taken, and `step_refused` follows."""
        self.refused = self.refused or reason

    def roll_back(self, reason: str) -> None:
        """Refuse, and return to the last recovery checkpoint if the recipe keeps any."""
        self.refuse(reason)
        self.rollback = True

    def undo(self, reason: str) -> None:
        """For `step_taken`: return to the last recovery checkpoint if the recipe keeps any."""
        self.undone = self.undone or reason


@dataclass(frozen=True)
class HeldOutScore:
    """How well held-out examples are done."""

    loss: float
    """Nats a byte of a text, or an answer token of a task."""
    recall: float | None = None
    """Mean over the gaps of the share of whole answers that are right; None: there are no answers."""
    gate_shares: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    """What is to be recorded besides, by its whole name."""


class Trained(Protocol):
    """What policies may read of the objective."""

    sha256: str
    """Hex digest of the data."""

    def held_out(self, trainer: "Trainer") -> HeldOutScore:
        """Every process must call it; model, memory and generators are left as they were."""


class Trainer(Protocol):
    """What policies may touch of the trainer. The training loop implements it and names no policy."""

    model: MemoryLanguageModel[Any]
    spec: ExperimentSpec
    recipe: RecipeSpec
    recorder: Recorder
    device: torch.device
    precision: Literal["fp32", "bf16"]
    ranks: Ranks
    optimizer: torch.optim.Optimizer
    optimized: MemoryLanguageModel[Any]
    """The model whose parameters the optimiser has: `model`, or with FSDP its shards."""
    memory: MemoryState
    """What the next batch may start from."""
    policies: "list[Policy]"
    storage: Storage
    """Through which checkpoints are written."""
    position: int
    """Steps attempted so far: the place in the data."""
    taken: int
    """Steps that the weights have behind them: the place in the schedule. A rollback takes some back."""
    refused: int
    """Steps refused so far."""

    @property
    def objective(self) -> Trained:
        """What is trained for."""

    def event(self, kind: str, detail: Mapping[str, object]) -> None:
        """Record, once for all processes, something that happened in the current step."""

    def fail(self, error: TrainingError) -> None:
        """End training after the current step with `error`. Every process must call it."""

    def stop(self, reason: Literal["interrupted", "terminated"]) -> None:
        """Request an end after the current step; the run then saves and returns."""

    @property
    def trainable(self) -> list[nn.Parameter]:
        """Parameters that take gradients, in the model's order; at the gradient moments this process's part of them."""

    def is_over(self) -> bool:
        """Whether a stop was requested or a policy ended training, on any process. Every process must call it."""

    def save(self, folder: Path, keep: Path | None = None) -> None:
        """Write a checkpoint. Raises `CheckpointError`."""

    def random_state(self) -> dict[str, Tensor]:
        """The states of the generators that the next step will draw from."""

    def resume_from(self, position: int, taken: int, refused: int, random_state: Mapping[str, Tensor]) -> None:
        """Set where the next step starts: its place in the data, in the schedule, and in the random numbers."""


class StepUndone(Exception):
    """A policy took the step back, as if it had never been attempted: training ends, and a resumed run repeats it."""


class Policy:
    """Acts at moments of the step. Every method does nothing unless a policy needs that moment."""

    name: str = "policy"
    recoverable: tuple[str, ...] = ()
    """What of the state belongs to the weights and returns with them in a rollback: keys of `state_dict`, and of
    `tensors` the part before the first `/`."""

    def phase_began(self, trainer: Trainer) -> None:
        """Everything is in place for the first step, or for the next one of a resumed run."""

    def batch_ready(self, trainer: Trainer, step: Step) -> None:
        """The batch is on the device, nothing has been computed; refusing here saves the forward pass."""

    def loss_known(self, trainer: Trainer, step: Step) -> None:
        """Forward and loss are done; refusing here saves the backward pass."""

    def gradients_ready(self, trainer: Trainer, step: Step) -> None:
        """Gradients are accumulated and synchronised, and not yet checked."""

    def gradients_known(self, trainer: Trainer, step: Step) -> None:
        """Their norm is known too; they may be changed in place."""

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        """Weights, moments and schedule have moved."""

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        """The step was not taken: no weight, moment or schedule moved."""

    def rolled_back(self, trainer: Trainer) -> None:
        """Everything has returned to the recovery checkpoint, with what of this policy is `recoverable`."""

    def phase_ended(self, trainer: Trainer, step: Step) -> None:
        """The last step is over, or training was stopped."""

    def close(self) -> None:
        """Training has left the loop, also by an error: let go of what outlives it, such as the terminal."""

    def results(self) -> dict[str, Any]:
        """This policy's part of the run's result, by the field of `TrainingResult`."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must keep of this policy: JSON values only."""
        return {}

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must keep besides, as tensors, not changed in place. Each process keeps its own."""
        return {}

    def load_state(self, trainer: Trainer, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` and `tensors` returned."""


PolicyT = TypeVar("PolicyT", bound=Policy)


def find_policy(policies: Iterable[Policy], kind: type[PolicyT]) -> PolicyT | None:
    """The first policy of a kind, such as `find_policy(trainer.policies, Probe)`; None: the run has none."""
    return next((policy for policy in policies if isinstance(policy, kind)), None)
