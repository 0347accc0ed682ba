"""A bounded, uniform sample of the training examples seen so far: a value, never changed in place."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

NO_PLACE = -1


@dataclass(frozen=True)
class Example:
    """One training example, on the CPU, of whatever length it had."""

    tokens: Int[Tensor, " time_and_target"]
    scored: Bool[Tensor, " time"]
    """At which inputs the next token counts."""
    place: int = NO_PLACE
    """Where it begins in the training text."""

    @property
    def counted(self) -> int:
        """How many targets count."""
        return int(self.scored.sum())


@dataclass(frozen=True)
class Reservoir:
    """Of `seen` examples each is here with the same probability, `capacity / seen`.

    Source: Vitter 1985, Random sampling with a reservoir, algorithm R.
    """

    capacity: int
    examples: tuple[Example, ...] = ()
    seen: int = 0

    def offered(self, examples: Iterable[Example], random: np.random.Generator) -> Self:
        """The reservoir after these examples, one draw for each."""
        kept, seen = list(self.examples), self.seen
        for example in examples:
            seen += 1
            place = int(random.integers(seen))
            if len(kept) < self.capacity:
                kept.append(example)
            elif place < self.capacity:
                kept[place] = example
        return type(self)(self.capacity, tuple(kept), seen)

    def tensors(self) -> dict[str, Tensor]:
        """Everything but the capacity, enough for `from_tensors`."""
        named = {"seen": torch.tensor(self.seen)}
        for number, example in enumerate(self.examples):
            named |= {f"tokens/{number}": example.tokens, f"scored/{number}": example.scored}
        if any(example.place != NO_PLACE for example in self.examples):
            named["places"] = torch.tensor([example.place for example in self.examples])
        return named

    @classmethod
    def from_tensors(cls, capacity: int, tensors: Mapping[str, Tensor]) -> Self:
        """What `tensors` described; of more than `capacity` examples the first stay. Empty for no tensors."""
        count = min(capacity, sum(name.startswith("tokens/") for name in tensors))
        places = tensors["places"].tolist() if "places" in tensors else [NO_PLACE] * count
        examples = tuple(Example(tensors[f"tokens/{n}"], tensors[f"scored/{n}"], places[n]) for n in range(count))
        return cls(capacity, examples, int(tensors["seen"]) if "seen" in tensors else 0)
