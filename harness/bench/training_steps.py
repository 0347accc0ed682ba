"""`cortexgpt-step` and `hybrid-step`: a training step beside that of a transformer with as many parameters.

A step is what every trainer does: loss, gradients, their norm clipped, AdamW. Guards and tracking are measured by
`guards`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_

from cortexzoo.harness.bench.benchmark import Case, timed
from cortexzoo.harness.bench.equal_transformer import equal_transformer
from cortexzoo.harness.bench.held_bytes import counted_flops, peak_bytes
from cortexzoo.specs import load, load_experiment
from cortexzoo.specs.recipe import AdamWSpec
from cortexzoo.specs.variant import VariantSpec
from cortexzoo.zoo.build import build_model, load_data
from cortexzoo.zoo.data.order import cut_windows
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.models.interface import MemoryLanguageModel
from cortexzoo.zoo.training.evaluation import Precision, autocast, lm_loss, next_token_loss
from cortexzoo.zoo.training.optimizer import build_optimizer

ROWS = 8
FILLED_BY = 64
"""Batches that long-term memory has read before the first step."""
CLIP = 0.5
WITHOUT = "memory.long_term={kind: none}"

Tokens = torch.Tensor


class Trained:
    """A model, its optimiser and its memory, on the device of the batches."""

    def __init__(self, variant: VariantSpec, batches: Sequence[Tokens], precision: Precision = "fp32") -> None:
        self.device, self.precision = batches[0].device, precision
        self.model: MemoryLanguageModel[Any] = build_model(variant, 0).train().to(self.device)
        self.optimizer = build_optimizer(self.model, AdamWSpec(learning_rate=1e-5))
        self.state = self.model.initial_state(ROWS)
        self.batches, self.number = batches, 0

    def fill(self) -> "Trained":
        """With a long-term memory that has read something."""
        with torch.no_grad():
            for number in range(FILLED_BY):
                self.state = self.model.between_batches(self.state, ROWS)
                tokens = self.batches[number % len(self.batches)]
                self.state = self.model(tokens[:, :-1], self.state).state
            self.state = self.model.consolidate(self.model.between_batches(self.state, ROWS))
        return self

    def step(self) -> None:
        """One step on the next batch."""
        self.differentiate(self.batches[self.number % len(self.batches)])
        self.number += 1
        clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def differentiate(self, tokens: Tokens) -> None:
        """Gradients of a batch."""
        with autocast(self.device, self.precision):
            loss, output = lm_loss(self.model, tokens, self.model.between_batches(self.state, ROWS))
            if output.alone is not None and output.alone_weight:
                loss = loss + output.alone_weight * next_token_loss(output.alone, tokens)
        torch.autograd.backward(loss)


class CortexGPTStep:
    """`cortexgpt-stable`, batch 8: with short-term memory alone, and with its long-term memory of contexts.

    The latter also beside the former, whose cost it shows.
    """

    headline, of_training = "D128-T128", True

    def cases(self, quick: bool) -> Sequence[Case]:
        cases = []
        for width, time in [(128, 128)] if quick else [(128, 128), (128, 512), (256, 128), (256, 512)]:
            size = f"hidden_size={width}"
            plain = load("cortexgpt-stable", "variant", [size, WITHOUT])
            control = equal_transformer(plain, width, 4, 256)
            batches = text_batches(time)
            trained = Trained(plain, batches)
            remembering = Trained(load("cortexgpt-stable", "variant", [size]), batches).fill()
            peer = Trained(control, batches)
            cases += [
                step_case(f"D{width}-T{time}", f"D{width}", time, trained.step, peer.step),
                step_case(
                    f"D{width}-T{time}-long-term-memory",
                    f"D{width}-long-term-memory",
                    time,
                    remembering.step,
                    peer.step,
                ),
                step_case(
                    f"D{width}-T{time}-against-none",
                    f"D{width}-against-none",
                    time,
                    remembering.step,
                    trained.step,
                ),
            ]
        return cases


class HybridStep:
    """`cortex-v2-hybrid-scratch`, whose weights all learn, batch 8."""

    headline, of_training = "", True

    def cases(self, quick: bool) -> Sequence[Case]:
        variant = load("cortex-v2-hybrid-scratch", "variant", ["backbone.architecture.vocab_size=256"])
        control = equal_transformer(variant, 64, 4, 256)
        cases = []
        for time in (128, 512) if quick else (128, 512, 2048):
            batches = text_batches(time)
            ours, peer = Trained(variant, batches), Trained(control, batches)
            cases.append(step_case(f"T{time}", "", time, ours.step, peer.step))
        return cases


def step_case(name: str, series: str, time: int, ours: Callable[[], None], peer: Callable[[], None]) -> Case:
    """Tokens a second against the peer's."""
    return Case(
        name,
        timed(ours),
        timed(peer),
        series=series,
        size=time,
        flops=counted_flops(ours),
        peak_bytes=lambda: peak_bytes(ours),
    )


def text_batches(time: int, count: int = 8) -> list[Tokens]:
    """Batches of shuffled windows of the text that comes with Python."""
    data = load_data(load_experiment("cortexgpt-stable"))
    assert isinstance(data, TextData)
    order = data.training_order(time, seed=0)
    return [cut_windows(data.train, order.starts(number * ROWS, ROWS), time) for number in range(count)]
