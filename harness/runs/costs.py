"""What an experiment costs before anything is trained: parameters, memories, operations, bytes."""

from dataclasses import asdict, dataclass
from typing import Any

from cortexzoo.specs.objective import Recall
from cortexzoo.specs.recipe import RecipeSpec
from cortexzoo.specs.variant import VariantSpec
from cortexzoo.zoo.costs import LATER, BatchCosts, batch_costs

Row = tuple[str, ...]
FLOAT = 4
"""Bytes of a trained weight, its gradient and each moment: float32 in both precisions of a recipe."""
UNITS = ("bytes", "kB", "MB", "GB", "TB")
PREFIXES = ("", "k", "M", "G", "T", "P", "E")
ON_TOP = "without the interpreter and its libraries"


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes. What the interpreter and its libraries take comes on top."""

    weights: int
    frozen_weights: int
    gradients: int
    moments: int
    """The two running means of AdamW."""
    memories: int
    """What the model remembers after a batch; a long-term memory that has a bound is full."""
    activations: int
    """What autograd saves of one forward pass in float32; fused kernels save less, and bf16 about half."""

    @property
    def total(self) -> int:
        return self.weights + self.frozen_weights + self.gradients + self.moments + self.memories + self.activations


@dataclass(frozen=True)
class Costs:
    """The costs of a variant with batches of `batch_size` × `length` tokens."""

    batch_size: int
    length: int
    whole_length: int
    """Of the recipe's rows, of which `length` tokens are counted."""
    batch: BatchCosts
    steps: int
    sequences_a_step: int
    is_bound: bool = False
    """Documents differ in length, and `length` is that of the largest steps: the totals are upper bounds."""

    @classmethod
    def of(cls, variant: VariantSpec, recipe: RecipeSpec, longest: int | None = None) -> "Costs":
        """Counted on the meta device, without weights. `longest`: rows are cut after so many tokens."""
        batch_size, length = recipe.batch_size, recipe.sequence_length
        objective = recipe.objective
        if isinstance(objective, Recall):
            # As many documents as fit: they weigh as one of all their tokens.
            batch_size, length = 1, max(stage.tokens_per_step for stage in objective.stages)
        counted = min(length, longest or length)
        return cls(
            batch_size,
            counted,
            length,
            batch_costs(variant, batch_size, counted),
            recipe.steps,
            batch_size * recipe.accumulation,
            isinstance(objective, Recall),
        )

    @property
    def training_flops(self) -> float:
        """Of the whole run, without validation and probes."""
        return self.training_per_token * self.sequences_a_step * self.length * self.steps

    @property
    def forward_per_token(self) -> float:
        return sum(self.batch.forward_flops.values()) / self.tokens

    @property
    def training_per_token(self) -> float:
        """Forward and backward together; the optimiser's own work is not counted."""
        return self.batch.training_flops / self.tokens

    @property
    def tokens(self) -> int:
        return self.batch_size * self.length

    @property
    def memory(self) -> TrainingMemory:
        trained = FLOAT * self.batch.trained_parameters
        return TrainingMemory(
            weights=trained,
            frozen_weights=self.batch.frozen_bytes,
            gradients=trained,
            moments=2 * trained,
            memories=sum(self.batch.states.values()),
            activations=self.batch.activation_bytes,
        )

    @property
    def state_bytes(self) -> dict[str, tuple[int, int]]:
        """Of each memory that is not empty: after one batch, and after `LATER`."""
        batch = self.batch
        names = dict.fromkeys([*batch.states, *batch.states_later])
        sizes = {name: (batch.states.get(name, 0), batch.states_later.get(name, 0)) for name in names}
        return {name: both for name, both in sizes.items() if any(both)}

    def parameter_rows(self) -> list[Row]:
        """One a part, then the sums."""
        rows: list[Row] = [(name, f"{count:,}") for name, count in self.batch.parameters.items()]
        rows.append(("trained, all together", f"{self.batch.trained_parameters:,}"))
        frozen = self.batch.frozen_parameters
        return [*rows, ("frozen: the base", f"{frozen:,}")] if frozen else rows

    def state_rows(self) -> list[Row]:
        """Each memory: its bytes after one batch, and after several that continue the same documents."""
        return [(name, in_bytes(first), in_bytes(later)) for name, (first, later) in self.state_bytes.items()]

    def flops_rows(self) -> list[Row]:
        """Operations per token: of a forward pass by part, of a forward and a training pass in all."""
        rows = [(part, in_short(count / self.tokens)) for part, count in self.batch.forward_flops.items()]
        forward, training = in_short(self.forward_per_token), in_short(self.training_per_token)
        return [*rows, ("forward, all", forward), ("forward and backward", training)]

    def memory_rows(self) -> list[Row]:
        """What training needs at once."""
        memory = self.memory
        frozen = [("frozen weights", in_bytes(memory.frozen_weights))] if memory.frozen_weights else []
        return [
            ("weights", in_bytes(memory.weights)),
            *frozen,
            ("gradients", in_bytes(memory.gradients)),
            ("moments of AdamW", in_bytes(memory.moments)),
            ("memories", in_bytes(memory.memories)),
            ("activations, about", in_bytes(memory.activations)),
            ("all, about", f"{in_bytes(memory.total)}; {ON_TOP}"),
        ]

    def as_json(self) -> dict[str, Any]:
        """Everything in plain numbers: counts, bytes, operations of one batch."""
        batch = self.batch
        return {
            "batch_size": self.batch_size,
            "sequence_length": self.length,
            "parameters": dict(batch.parameters),
            "frozen_parameters": batch.frozen_parameters,
            "state_bytes": {
                name: {"after_1_batch": first, f"after_{LATER}_batches": later}
                for name, (first, later) in self.state_bytes.items()
            },
            "flops": {
                "forward": dict(batch.forward_flops),
                "training": batch.training_flops,
                "forward_per_token": self.forward_per_token,
                "training_per_token": self.training_per_token,
                "training_run": self.training_flops,
            },
            "training_bytes": {**asdict(self.memory), "total": self.memory.total},
        }


def in_bytes(count: int) -> str:
    """`1.5 MB`; a thousand bytes are a kilobyte."""
    value, unit = float(count), UNITS[0]
    for unit in UNITS:
        if value < 1000 or unit == UNITS[-1]:
            break
        value /= 1000
    return f"{count} {unit}" if unit == UNITS[0] else f"{value:.3g} {unit}"


def in_short(count: float) -> str:
    """`2.03 M`: three digits and a prefix."""
    value, prefix = count, PREFIXES[0]
    for prefix in PREFIXES:
        if value < 999.5 or prefix == PREFIXES[-1]:
            break
        value /= 1000
    return f"{value:.3g} {prefix}".rstrip()


def duration(seconds: float) -> str:
    """`42 s`, `12.0 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
