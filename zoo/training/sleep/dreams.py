"""What a model dreams of: random tokens, training examples, or its own samples."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from cortexzoo.specs.sleep import Dreaming, GeneratedSleep, NoiseSleep, ReplaySleep
from cortexzoo.zoo.generation import generate
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState
from cortexzoo.zoo.training.sleep.reservoir import Example, Reservoir

Start = Callable[[int], MemoryState]
"""The memory that so many unrelated sequences start from."""


@dataclass(frozen=True)
class Dream:
    """One batch to be trained on. A row that is shorter than the others is padded on its right."""

    tokens: Int[Tensor, "batch time_and_target"]
    scored: Bool[Tensor, "batch time"] | None = None
    """At which inputs the next token counts; None: at all."""
    real: Bool[Tensor, "batch time"] | None = None
    """Which inputs are no padding; None: all."""
    places: Int[Tensor, " batch"] | None = None
    """Where each row begins in the training text; None: it is not from there."""

    def on(self, device: torch.device) -> "Dream":
        """The same on a device."""
        others = (self.scored, self.real, self.places)
        scored, real, places = (None if tensor is None else tensor.to(device) for tensor in others)
        return Dream(self.tokens.to(device), scored, real, places)

    def begun(self, model: MemoryLanguageModel[Any], start: Start) -> MemoryState:
        """The memory before the dream: it leaves out what it has of these very places."""
        state = start(len(self.tokens))
        return state if self.places is None else model.placed(state, self.places)


def draw(
    spec: Dreaming, model: MemoryLanguageModel[Any], reservoir: Reservoir, start: Start, random: torch.Generator
) -> Dream:
    """The dreams of one update, on the model's device; the same for the same `random`, which is on the CPU.

    Raises `ValueError` for a replay out of an empty reservoir, `NonFiniteLogits` for a model without finite logits.
    """
    device = next(model.parameters()).device
    match spec:
        case NoiseSleep():
            return Dream(_random_tokens(model, spec.batch_size, spec.length + 1, random)).on(device)
        case ReplaySleep():
            if not reservoir.examples:
                raise ValueError("the reservoir must contain at least one example to replay, got none")
            chosen = torch.randint(len(reservoir.examples), (spec.batch_size,), generator=random)
            return together([reservoir.examples[i] for i in chosen.tolist()]).on(device)
        case GeneratedSleep():
            return _generated(spec, model, start, random).on(device)


def together(examples: Sequence[Example]) -> Dream:
    """Examples of any lengths as one batch."""
    longest = max(len(example.scored) for example in examples)
    tokens = torch.zeros(len(examples), longest + 1, dtype=examples[0].tokens.dtype)
    scored, real = (torch.zeros(len(examples), longest, dtype=torch.bool) for _ in range(2))
    for row, example in enumerate(examples):
        length = len(example.scored)
        tokens[row, : length + 1], scored[row, :length], real[row, :length] = example.tokens, example.scored, True
    return Dream(tokens, scored, real, torch.tensor([example.place for example in examples]))


def _generated(spec: GeneratedSleep, model: MemoryLanguageModel[Any], start: Start, random: torch.Generator) -> Dream:
    prompt = _random_tokens(model, spec.batch_size, spec.prompt_length, random)
    seed = int(torch.randint(2**31, (), generator=random))
    new = generate(
        model,
        prompt.to(next(model.parameters()).device),
        spec.length + 1 - spec.prompt_length,
        temperature=spec.temperature,
        seed=seed,
        state=start(spec.batch_size),
    )
    scored = (torch.arange(spec.length) >= spec.prompt_length - 1).expand(spec.batch_size, -1)
    return Dream(torch.cat([prompt.to(new.device), new], dim=1), scored)


def _random_tokens(model: MemoryLanguageModel[Any], rows: int, length: int, random: torch.Generator) -> Tensor:
    return torch.randint(model.vocab_size, (rows, length), generator=random)
