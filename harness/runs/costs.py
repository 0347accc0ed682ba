"""What an experiment costs before anything is trained: parameters, memories, operations, bytes; all from its specs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cortexzoo.specs.flops import Flops, flops
from cortexzoo.specs.objective import Recall
from cortexzoo.specs.parameters import frozen_parameter_count, parameters_by_part
from cortexzoo.specs.recipe import RecipeSpec
from cortexzoo.specs.state_sizes import StateSize, state_sizes
from cortexzoo.specs.training_memory import TrainingMemory, training_memory
from cortexzoo.specs.variant import VariantSpec

Row = tuple[str, ...]
UNITS = ("bytes", "kB", "MB", "GB", "TB")
PREFIXES = ("", "k", "M", "G", "T", "P", "E")
ON_TOP = "the interpreter and its libraries come on top"


@dataclass(frozen=True)
class Costs:
    """The costs of a variant with batches of `batch_size` × `length` tokens."""

    batch_size: int
    length: int
    parameters: dict[str, int]
    frozen_parameters: int
    states: Sequence[StateSize]
    flops: Flops
    memory: TrainingMemory
    steps: int
    sequences_a_step: int
    is_bound: bool = False
    """Documents differ in length: so many tokens are what the largest steps hold, without what guards the chunk."""

    @classmethod
    def of(cls, variant: VariantSpec, recipe: RecipeSpec) -> "Costs":
        """Counted without building anything; activations alone are an estimate."""
        batch_size, length = recipe.batch_size, recipe.sequence_length
        objective = recipe.objective
        if isinstance(objective, Recall):
            # As many documents as fit: they weigh as one of all their tokens.
            batch_size, length = 1, max(stage.tokens_per_step for stage in objective.stages)
        memory = training_memory(
            variant, recipe.model_copy(update={"batch_size": batch_size, "sequence_length": length})
        )
        return cls(
            batch_size,
            length,
            parameters_by_part(variant),
            frozen_parameter_count(variant),
            state_sizes(variant, batch_size, length),
            flops(variant, batch_size, length),
            memory,
            recipe.steps,
            batch_size * recipe.accumulation,
            isinstance(objective, Recall),
        )

    @property
    def training_flops(self) -> float:
        """Of the whole run, without validation and probes."""
        return self.flops.training_per_token * self.sequences_a_step * self.length * self.steps

    def parameter_rows(self) -> list[Row]:
        """One a part, then the sums."""
        rows: list[Row] = [(name, f"{count:,}") for name, count in self.parameters.items()]
        rows.append(("trained, all together", f"{sum(self.parameters.values()):,}"))
        return [*rows, ("frozen: the base", f"{self.frozen_parameters:,}")] if self.frozen_parameters else rows

    def state_rows(self) -> list[Row]:
        """Each memory: its bytes after a training sequence, and at most."""
        return [
            (size.name, in_bytes(size.bytes), "no bound" if size.at_most is None else in_bytes(size.at_most))
            for size in self.states
        ]

    def flops_rows(self) -> list[Row]:
        """One a part: operations per token of a forward and of a training pass."""
        tokens, counted = self.flops.tokens, self.flops
        rows = [
            (part, in_short(count / tokens), in_short(counted.training[part] / tokens))
            for part, count in counted.forward.items()
        ]
        return [*rows, ("all", in_short(counted.forward_per_token), in_short(counted.training_per_token))]

    def memory_rows(self) -> list[Row]:
        """What training holds at once."""
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
        return {
            "batch_size": self.batch_size,
            "sequence_length": self.length,
            "parameters": self.parameters,
            "frozen_parameters": self.frozen_parameters,
            "state_bytes": {size.name: {"bytes": size.bytes, "at_most": size.at_most} for size in self.states},
            "flops": {
                "forward": self.flops.forward,
                "training": self.flops.training,
                "forward_per_token": self.flops.forward_per_token,
                "training_per_token": self.flops.training_per_token,
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
