"""What a property is judged on: a trained model with its memory, held-out text and training record."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from specs import ExperimentSpec
from zoo.models.interface import MemoryLanguageModel, MemoryState

Model = MemoryLanguageModel[Any]
Tokens = Int[Tensor, "batch time"]


@dataclass(frozen=True)
class Subject:
    """A trained model and its circumstances. Properties work on `copy()` and never change what they were given."""

    experiment: ExperimentSpec
    model: Model
    state: MemoryState
    """The memory that training ended with, long-term contents included."""
    text: Int[Tensor, " tokens"]
    """Held-out tokens."""
    metrics: Sequence[Mapping[str, float]] = field(default_factory=tuple)
    """The lines of `metrics.jsonl`."""
    summary: Mapping[str, Any] = field(default_factory=dict)
    """The content of `summary.json`: losses of the model and of the counting references, in nats a token."""

    def copy(self) -> Model:
        """The model again, in evaluation mode: what a property does to it, no other property sees."""
        return copy.deepcopy(self.model).eval()

    def start(self, model: Model, rows: int) -> MemoryState:
        """The memory that an unrelated batch of `rows` sequences starts from."""
        state: MemoryState = model.between_batches(self.state, rows)
        return state

    def sequences(self, rows: int, length: int) -> Tokens:
        """`rows` stretches of held-out text, evenly spread; the text repeats where it is too short."""
        starts = torch.arange(rows)[:, None] * max(1, (len(self.text) - length) // max(1, rows))
        return self.text[(starts + torch.arange(length)) % len(self.text)]

    def random_tokens(self, rows: int, length: int, seed: int = 0) -> Tokens:
        """Uniform tokens from a generator of their own."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(self.model.vocab_size, (rows, length), generator=generator)

    def other_tokens(self, tokens: Tokens, seed: int = 0) -> Tokens:
        """Tokens of the same shape that differ from the given ones everywhere."""
        generator = torch.Generator().manual_seed(seed)
        shift = torch.randint(1, self.model.vocab_size, tokens.shape, generator=generator)
        return (tokens + shift) % self.model.vocab_size
