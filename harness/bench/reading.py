"""`streaming` and `data`: a long text read through a memory, and batches drawn from a text."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from cortexzoo.harness.bench.benchmark import Case, timed
from cortexzoo.harness.bench.equal_transformer import built, equal_transformer
from cortexzoo.harness.bench.held_bytes import peak_bytes
from cortexzoo.specs import load, load_experiment
from cortexzoo.zoo.build import build_model, load_data
from cortexzoo.zoo.data.order import TrainingOrder, cut_windows
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.models.interface import MemoryLanguageModel

PIECE = 512
ROWS, LENGTH, BATCHES = 8, 128, 50


class Streaming:
    """`cortexgpt-stable` with short-term memory alone reads in pieces of 512; the transformer keeps a cache."""

    headline = ""

    def cases(self, quick: bool) -> Sequence[Case]:
        variant = load("cortexgpt-stable", "variant", ["memory.long_term={kind: none}"])
        ours, peer = build_model(variant, 0).eval(), built(equal_transformer(variant, 128, 4, 256)).eval()
        return [
            Case(
                f"tokens-{tokens}",
                timed(read(ours, tokens)),
                timed(read(peer, tokens)),
                size=tokens,
                peak_bytes=lambda tokens=tokens: peak_bytes(read(ours, tokens)),  # type: ignore[misc]
            )
            for tokens in ((1024, 2048, 4096) if quick else (1024, 4096, 16_384))
        ]


def read(model: MemoryLanguageModel[Any], tokens: int) -> Callable[[], object]:
    """Read so many tokens, one piece after the other."""

    def call() -> None:
        rng = torch.Generator().manual_seed(0)
        with torch.no_grad():
            state = model.initial_state(1)
            for _ in range(0, tokens, PIECE):
                state = model.read(torch.randint(256, (1, PIECE), generator=rng), state).state

    return call


class Data:
    """50 shuffled batches of 8 windows of 128 bytes; the peer is torch's `DataLoader` over the same windows."""

    headline = ""

    def cases(self, quick: bool) -> Sequence[Case]:
        data = load_data(load_experiment("cortexgpt-stable"))
        assert isinstance(data, TextData)
        order = data.training_order(LENGTH, seed=0)
        assert isinstance(order, TrainingOrder)
        windows = cut_windows(data.train, order.starts(0, order.windows_per_epoch), LENGTH)
        loader = DataLoader(TensorDataset(windows), batch_size=ROWS, shuffle=True)

        def ours() -> None:
            for number in range(BATCHES):
                cut_windows(data.train, order.starts(number * ROWS, ROWS), LENGTH)

        def peer() -> None:
            for number, _ in enumerate(loader, start=1):
                if number == BATCHES:
                    break

        return [Case("batches", timed(ours), timed(peer))]
