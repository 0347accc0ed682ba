"""What surrounds a training's calls: its precision, and torch's random numbers, of the CPU and of its card."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Generators:
    """The states of all generators that a training on `device` draws from."""

    device: torch.device
    states: tuple[Tensor, ...]

    @classmethod
    def now(cls, device: torch.device) -> "Generators":
        """As they are."""
        card = (torch.cuda.get_rng_state(device),) if device.type == "cuda" else ()
        return cls(device, (torch.get_rng_state(), *card))

    def restore(self) -> None:
        """Draw from here on."""
        torch.set_rng_state(self.states[0])
        if len(self.states) > 1:
            torch.cuda.set_rng_state(self.states[1], self.device)

    def are(self, other: "Generators") -> bool:
        """Whether the same numbers follow."""
        return all(torch.equal(one, two) for one, two in zip(self.states, other.states, strict=True))


def region(device: torch.device, precision: str) -> torch.autocast:
    """Around forward calls of a training on `device` with this `recipe.precision`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


@contextmanager
def left_alone(device: torch.device) -> Iterator[None]:
    """Whatever is drawn inside, the generators are as before afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
