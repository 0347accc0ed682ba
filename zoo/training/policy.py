"""The moments of a training step, and the policies that act on them.

One optimiser step passes through these moments, in this order:

    batch_ready → (forward, loss) → loss_known → (backward) → gradients_known → (optimiser) → step_taken
                                         └────────── refuse(reason) ──────────────────────→ step_refused

and `phase_ended` closes the run. With accumulation, forward and backward repeat for every micro-batch, and `loss_known`
comes before the last backward. After a refusal no further policy is asked, and a refusal on one process is one on all.
`step_taken` and `step_refused` reach all policies, which may add metrics until it is the recorder's turn. A policy is
an object with its own state; the loop has no flag for any of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from zoo.models.interface import MemoryState

if TYPE_CHECKING:
    from zoo.training.loop import Trainer


@dataclass
class Step:
    """One optimiser step in the making. Policies read it, may set `refused`, and add to `metrics`."""

    number: int
    """1 for the first optimiser step; steps already taken = number - 1."""
    tokens: Tensor | None = None
    """This process's rows of every micro-batch: [accumulation, rows, T + 1]. `batch_ready` may replace them."""
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

    def refuse(self, reason: str) -> None:
        """Keep the first reason: the step will not be taken, and `step_refused` follows."""
        self.refused = self.refused or reason


class Policy:
    """Acts at moments of the step. Every method does nothing unless a policy needs that moment."""

    name: str = "policy"

    def batch_ready(self, trainer: "Trainer", step: Step) -> None:
        """The batch is on the device, nothing has been computed."""

    def loss_known(self, trainer: "Trainer", step: Step) -> None:
        """Forward and loss are done; refusing here saves the backward pass."""

    def gradients_known(self, trainer: "Trainer", step: Step) -> None:
        """Gradients are accumulated and synchronised; they may be changed in place."""

    def step_taken(self, trainer: "Trainer", step: Step) -> None:
        """Weights, moments and schedule have moved."""

    def step_refused(self, trainer: "Trainer", step: Step) -> None:
        """The step was not taken: no weight, moment or schedule moved."""

    def phase_ended(self, trainer: "Trainer", step: Step) -> None:
        """The last step is over, or training was stopped."""

    def close(self) -> None:
        """Training has left the loop, also by an error: let go of what outlives it, such as the terminal."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must keep of this policy: JSON values only."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
