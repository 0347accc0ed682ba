"""What a property is judged on: a trained model with its memory, held-out text and training record."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch
from jaxtyping import Int
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from cortexzoo.harness.checking.experts import has_experts
from cortexzoo.specs import ExperimentSpec
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.checkpoints import encode_tensors
from cortexzoo.zoo.data.tasks.task import Task
from cortexzoo.zoo.data.text_vocabulary import ByteVocabulary, TextVocabulary
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState

Model = MemoryLanguageModel[Any]
Tokens = Int[Tensor, "batch time"]


class Runnable(Protocol):
    """What properties of any sequence model need of their subject. `state` is None where there is no memory."""

    @property
    def carries_state(self) -> bool:
        """Whether a sequence can be given in pieces, with the memory carried from one to the next."""

    @property
    def scales_linearly(self) -> bool:
        """Whether it claims that time and memory grow linearly with length."""

    @property
    def memory_has_one_layout(self) -> bool:
        """Whether equal memories are equal tensor by tensor; a ring that was turned is not."""

    @property
    def modes(self) -> tuple[str, ...]:
        """`eval`, and `train` where training mode can be compared as evaluation mode is."""

    @property
    def ways(self) -> tuple[str, ...]:
        """Other ways to compute it that can be compared with a call."""

    @property
    def longest(self) -> int:
        """The greatest length that is tried."""

    @property
    def eps(self) -> float:
        """The rounding of the least precise parameters."""

    @property
    def exact(self) -> bool:
        """Whether every bit of a difference counts; otherwise what exceeds rounding, relative to the output."""

    def copy(self) -> nn.Module:
        """The module under test in evaluation mode, untouched by what other properties did to theirs."""

    def rebuilt(self, seed: int) -> nn.Module:
        """The same module with fresh weights that follow from `seed`."""

    def draw(self, rows: int, length: int, seed: int = 0) -> Tensor:
        """Inputs [B, T] or [B, T, D] from a generator of their own."""

    def examples(self, rows: int, length: int, seed: int = 0) -> Tensor:
        """Inputs as it was trained on, where there are any; otherwise as `draw`."""

    def other(self, inputs: Tensor, seed: int = 0) -> Tensor:
        """Inputs of the same shape that differ from the given ones everywhere."""

    def begin(self, model: nn.Module, rows: int) -> Any:
        """The memory that an unrelated batch of `rows` sequences starts from."""

    def follow(self, model: nn.Module, state: Any, rows: int) -> Any:
        """The memory that the next, unrelated batch starts from after one that ended with `state`."""

    def run(self, model: nn.Module, inputs: Tensor, state: Any, mask: Tensor | None = None) -> tuple[Tensor, Any]:
        """The output [B, T, …] and the memory after the last token; `mask` [B, T] is True at real tokens."""

    def settle(self, model: nn.Module, state: Any) -> Any:
        """The memory after whatever the model does to it besides forward calls: consolidation."""

    def memory(self, state: Any) -> dict[str, Tensor]:
        """The memory as named tensors."""

    def reread(self, model: nn.Module, state: Any) -> tuple[nn.Module, Any]:
        """Model and memory after a way through files: the start of a fresh process."""


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
    """The content of `summary.json`: losses of the model and of the counting references, in nats a byte."""
    task: Task | None = None
    """What was trained, where that was no text."""
    vocabulary: TextVocabulary = field(default_factory=ByteVocabulary)
    """The tokens of the text, where that was trained."""

    scales_linearly = True
    memory_has_one_layout = True
    modes = ("eval",)
    ways = ()
    longest = 450

    @cached_property
    def exact(self) -> bool:
        """Of a base with experts a product has as many rows as tokens chose the expert, and rounds accordingly."""
        return not has_experts(self.model)

    @property
    def eps(self) -> float:
        """The rounding of the least precise weights, those of a frozen base included."""
        base = self.model.base_network
        weights = [*self.model.parameters(), *([] if base is None else base.parameters())]
        dtypes = {each.dtype for each in weights if each.is_floating_point()}
        return max((torch.finfo(dtype).eps for dtype in dtypes), default=torch.finfo(torch.float32).eps)

    @property
    def carries_state(self) -> bool:
        return True

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

    def rebuilt(self, seed: int) -> Model:
        """An untrained model of the same variant."""
        return build_model(self.experiment.variant, seed)

    def draw(self, rows: int, length: int, seed: int = 0) -> Tokens:
        """As `random_tokens`."""
        return self.random_tokens(rows, length, seed)

    def examples(self, rows: int, length: int, seed: int = 0) -> Tokens:
        """As `sequences`, which are the same for each seed."""
        return self.sequences(rows, length)

    def other(self, inputs: Tensor, seed: int = 0) -> Tokens:
        """As `other_tokens`."""
        return self.other_tokens(inputs, seed)

    def begin(self, model: nn.Module, rows: int) -> MemoryState:
        """As `start`."""
        return self.follow(model, self.state, rows)

    def follow(self, model: nn.Module, state: MemoryState, rows: int) -> MemoryState:
        """What the variant makes of `state` between batches."""
        assert isinstance(model, MemoryLanguageModel)
        following: MemoryState = model.between_batches(state, rows)
        return following

    def run(
        self, model: nn.Module, inputs: Tensor, state: MemoryState, mask: Tensor | None = None
    ) -> tuple[Tensor, MemoryState]:
        """Logits and memory. No model of the zoo takes a mask."""
        assert mask is None
        output = model(inputs, state)
        return output.logits, output.state

    def settle(self, model: nn.Module, state: MemoryState) -> MemoryState:
        """The memory, consolidated."""
        assert isinstance(model, MemoryLanguageModel)
        settled: MemoryState = model.consolidate(state)
        return settled

    def memory(self, state: MemoryState) -> dict[str, Tensor]:
        """The state's tensors."""
        return state.tensors()

    def reread(self, model: nn.Module, state: MemoryState) -> tuple[Model, MemoryState]:
        """Through the bytes of a checkpoint, into a model that began with other weights."""
        fresh = copy.deepcopy(self.model)
        with torch.no_grad():
            for parameter in fresh.parameters():
                parameter.zero_()
        fresh.load_state_dict(_through_bytes(model.state_dict()))
        return fresh.eval(), type(state).from_tensors(_through_bytes(state.tensors()))


def _through_bytes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    content, shared = encode_tensors(tensors)
    read = load_tensors(content)
    return {**read, **{name: read[kept] for name, kept in shared.items()}}
