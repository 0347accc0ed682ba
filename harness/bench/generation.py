"""`generation`: new bytes one at a time, beside transformers' GPT-2 with its cache and as many parameters."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from cortexzoo.harness.bench.benchmark import Case, timed
from cortexzoo.specs import load
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.costs import trained_parameters
from cortexzoo.zoo.generation import generate
from cortexzoo.zoo.models.interface import MemoryLanguageModel

WIDTH, LAYERS, VOCABULARY = 128, 4, 256
FAR, FEW = 100_000, 64
"""Tokens already read, and tokens generated behind them."""
PIECE = 1024
PLAIN = "memory.long_term={kind: none}"

Model = MemoryLanguageModel[Any]


class Generation:
    """Greedy, batch 1: `cortexgpt-stable` with short-term memory alone, and `cortex-v2-hybrid-scratch`."""

    headline = ""

    def cases(self, quick: bool) -> Sequence[Case]:
        models: dict[str, Model] = {
            "cortexgpt": build_model(load("cortexgpt-stable", "variant", [PLAIN]), 0).eval(),
            "hybrid": build_model(
                load("cortex-v2-hybrid-scratch", "variant", [f"backbone.architecture.vocab_size={VOCABULARY}"]), 0
            ).eval(),
        }
        counts = (64, 256) if quick else (64, 256, 1024)
        return [
            Case(
                f"{name}-N{count}",
                timed(ours(model, count)),
                timed(peer),
                series=name,
                size=count,
                figures=far(model) if count == counts[0] and not quick else None,
            )
            for name, model in models.items()
            for count in counts
            for peer in [gpt2(trained_parameters(model), count)]
        ]


def ours(model: Model, count: int) -> Callable[[], object]:
    return lambda: generate(model, prompt(), count, temperature=0)


def far(model: Model) -> Callable[[], Mapping[str, float]]:
    """How much longer a token takes behind 100,000 tokens than at the start: 1 is flat."""

    def measure() -> dict[str, float]:
        with torch.no_grad():
            state = model.initial_state(1)
            rng = torch.Generator().manual_seed(0)
            for _ in range(0, FAR, PIECE):
                state = model.read(torch.randint(VOCABULARY, (1, PIECE), generator=rng), state).state
        behind = timed(lambda: generate(model, prompt(), FEW, temperature=0, state=state))
        start = timed(ours(model, FEW))
        ratios = sorted(behind() / start() for _ in range(7))
        return {"time_of_a_token_behind_100k": ratios[3]}

    return measure


def gpt2(parameters: int, count: int) -> Callable[[], object]:
    """transformers' GPT-2 of this width, its feed-forward layers as wide as the number of parameters requires."""
    from transformers import GPT2Config, GPT2LMHeadModel

    room = len(prompt()[0]) + count
    fixed = WIDTH * (VOCABULARY + room) + LAYERS * 4 * WIDTH**2
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=room,
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=4,
        n_inner=max(WIDTH, round((parameters - fixed) / (LAYERS * 2 * WIDTH))),
        bos_token_id=0,
        eos_token_id=None,
        pad_token_id=0,
    )
    model: Any = GPT2LMHeadModel(config).eval()
    tokens = prompt()

    def call() -> object:
        with torch.no_grad():
            return model.generate(
                tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=count, do_sample=False, use_cache=True
            )

    return call


def prompt() -> torch.Tensor:
    """Sixteen bytes."""
    return torch.arange(16)[None] + 97
