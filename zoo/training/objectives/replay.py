"""What of an earlier text is read again while a later one is learned: kept windows, or samples of the model itself."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from cortexzoo.specs.objective import GeneratedReplay, ReplaySpec, ReservoirReplay
from cortexzoo.zoo.data.mixed_order import MixedOrder
from cortexzoo.zoo.data.order import DocumentOrder, Starts, TrainingOrder, cut_windows
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.generation import generate
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState
from cortexzoo.zoo.streams import Stream

Order = TrainingOrder | DocumentOrder | MixedOrder

APART = 4
"""Windows from one sampled window to the next, in places: no sample is the neighbour of another."""


class Replay(ABC):
    """Which windows are read again, and how they weigh."""

    rows: int
    kl_weight: float
    kept: Starts
    """The numbers of the windows that may be read again."""

    def drawn(self, seed: int, place: int) -> Starts:
        """The numbers of the windows in the micro-batch `place`, which follow from the seed."""
        chosen: Starts = Stream.REPLAY.generator(seed, place).choice(self.kept, self.rows)
        return chosen

    @abstractmethod
    def windows(self, numbers: Starts) -> Int[Tensor, "windows time_and_target"]:
        """Their tokens."""

    @abstractmethod
    def places(self, numbers: Starts) -> Starts:
        """Where they begin, counted through all texts."""


class NothingAgain(Replay):
    """Nothing is read again: every batch is of the later text alone."""

    rows, kl_weight = 0, 0.0
    kept: Starts = np.empty(0, dtype=np.int64)

    def drawn(self, seed: int, place: int) -> Starts:
        return self.kept

    def windows(self, numbers: Starts) -> Int[Tensor, "windows time_and_target"]:
        return torch.empty(0, 0, dtype=torch.long)

    def places(self, numbers: Starts) -> Starts:
        return self.kept


class KeptWindows(Replay):
    """A uniform sample of the windows that were trained on, by their numbers in the order of the earlier text."""

    def __init__(self, spec: ReservoirReplay, trained_on: int, text: TextData, order: Order, seed: int) -> None:
        self.rows, self.kl_weight = spec.rows, spec.kl_weight
        self.text, self.order = text, order
        self.kept = Stream.REPLAY.generator(seed).choice(trained_on, spec.windows, replace=False)

    def windows(self, numbers: Starts) -> Int[Tensor, "windows time_and_target"]:
        return cut_windows(self.text.train, self.places(numbers), self.order.sequence_length)

    def places(self, numbers: Starts) -> Starts:
        return np.concatenate([numbers[:0], *(self.order.starts(int(number), 1) for number in numbers)])


class SampledWindows(Replay):
    """Windows that the model samples when training goes over to the later text. `begin` is behind both texts."""

    def __init__(self, spec: GeneratedReplay, length: int, begin: int) -> None:
        self.rows, self.kl_weight, self.spec = spec.rows, spec.kl_weight, spec
        self.length, self.begin = length, begin
        self.kept = np.arange(spec.windows)
        self.samples: Int[Tensor, "windows time_and_target"] | None = None
        """None: training has not gone over yet."""

    @torch.no_grad()
    def sample(self, model: MemoryLanguageModel[Any], memory: MemoryState, seed: int) -> None:
        """Sample every window, each after one random token, from the memory between batches."""
        spec = self.spec
        start, dice = Stream.REPLAY.seeds(seed).generate_state(2)
        random = torch.Generator().manual_seed(int(start))
        first = torch.randint(model.vocab_size, (spec.windows, 1), generator=random)
        sampled = generate(
            model,
            first.to(next(model.parameters()).device),
            spec.discarded + self.length,
            temperature=spec.temperature,
            seed=int(dice),
            state=model.between_batches(memory, spec.windows),
        )
        self.samples = sampled[:, -(self.length + 1) :].cpu()

    def windows(self, numbers: Starts) -> Int[Tensor, "windows time_and_target"]:
        assert self.samples is not None, "the model samples when training goes over"
        return self.samples[torch.from_numpy(numbers)]

    def places(self, numbers: Starts) -> Starts:
        return self.begin + numbers * APART * self.length


def build_replay(spec: ReplaySpec, trained_on: int, earlier: TextData, order: Order, begin: int, seed: int) -> Replay:
    """The replay of a kind. `trained_on` windows of the earlier text are trained on; `begin` is behind both texts."""
    match spec:
        case ReservoirReplay():
            return KeptWindows(spec, trained_on, earlier, order, seed)
        case GeneratedReplay():
            return SampledWindows(spec, order.sequence_length, begin)
        case _:
            return NothingAgain()
