"""A tiny healthy memory model, and one broken model for each property to catch."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cortexzoo.harness.checking.subject import Subject
from cortexzoo.specs import ExperimentSpec, RecipeSpec, SuiteSpec
from cortexzoo.specs.data import TextSpec
from cortexzoo.specs.properties import PROPERTY_NAMES
from cortexzoo.specs.suite import Check
from cortexzoo.specs.variant import TransformerSpec
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState, ModelOutput

VOCAB, WIDTH = 16, 8


@dataclass(frozen=True)
class TinyState(MemoryState):
    """The last vector of each row, and the vectors that were consolidated."""

    last: Tensor  # [B, D]
    stored: Tensor  # [N, D]

    def tensors(self) -> dict[str, Tensor]:
        return {"last": self.last, "stored": self.stored}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "TinyState":
        return cls(tensors["last"], tensors["stored"])

    def sizes(self) -> dict[str, int]:
        return {"stm": 1, "ltm": len(self.stored)}


class Tiny(MemoryLanguageModel[TinyState]):
    """Gated mix of a token, the mean of the tokens before it, and the mean of what was consolidated."""

    def __init__(self) -> None:
        super().__init__()
        self.vocab_size = VOCAB
        self.embedding = nn.Embedding(VOCAB, WIDTH)
        self.from_past = nn.Linear(WIDTH, WIDTH)
        self.from_stored = nn.Linear(WIDTH, WIDTH)
        self.gate = nn.Linear(WIDTH, 3)
        self.dropout = nn.Dropout(0.1)
        self.vocabulary = nn.Linear(WIDTH, VOCAB)

    def initial_state(self, batch_size: int) -> TinyState:
        return TinyState(torch.zeros(batch_size, WIDTH), torch.zeros(0, WIDTH))

    def between_batches(self, state: TinyState, batch_size: int) -> TinyState:
        return TinyState(torch.zeros(batch_size, WIDTH), state.stored)

    def consolidate(self, state: TinyState) -> TinyState:
        return TinyState(state.last, torch.cat([state.stored, state.last.detach()]))

    def embed(self, tokens: Tensor, state: TinyState) -> Tensor:
        embedded: Tensor = self.embedding(tokens)
        return embedded

    def gate_logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.gate(x)
        return logits

    def forward(
        self, tokens: Tensor, state: TinyState | None = None, disabled: Collection[str] = ()
    ) -> ModelOutput[TinyState]:
        state = self.initial_state(len(tokens)) if state is None else state
        x = self.embed(tokens, state)
        length = x.shape[1]
        before = torch.ones(length, length).tril(-1)
        past = self.from_past(before @ x / before.sum(1, keepdim=True).clamp_min(1))
        live = torch.tensor([True, True, bool(len(state.stored))])
        shares = self.gate_logits(x).masked_fill(~live, -torch.inf).softmax(-1)
        stored = self.from_stored(state.stored.mean(0)) if len(state.stored) else torch.zeros(WIDTH)
        mixed = shares[..., 0:1] * x + shares[..., 1:2] * past + shares[..., 2:3] * stored
        names = ("current", "short_term", "long_term")
        readings = {f"memory/gate_share/{n}": shares[..., i].detach().mean() for i, n in enumerate(names) if live[i]}
        return ModelOutput(self.vocabulary(self.dropout(mixed)), TinyState(x[:, -1].detach(), state.stored), readings)


class Acausal(Tiny):
    """Adds the mean over all of time."""

    def embed(self, tokens: Tensor, state: TinyState) -> Tensor:
        x = super().embed(tokens, state)
        return x + x.mean(1, keepdim=True)


class LateAcausal(Tiny):
    """Adds the mean over all of time, from position 2 on."""

    def embed(self, tokens: Tensor, state: TinyState) -> Tensor:
        x = super().embed(tokens, state)
        return x + x.mean(1, keepdim=True) * (torch.arange(x.shape[1]) >= 2)[:, None]


class AcausalFrom70(Tiny):
    """Adds the mean over all of time to sequences of 70 to 120 tokens, which no list of cases holds."""

    def embed(self, tokens: Tensor, state: TinyState) -> Tensor:
        x = super().embed(tokens, state)
        return x + x.mean(1, keepdim=True) if 70 <= tokens.shape[1] <= 120 else x


class BatchLeaking(Tiny):
    """Adds the mean over the batch."""

    def embed(self, tokens: Tensor, state: TinyState) -> Tensor:
        x = super().embed(tokens, state)
        return x + x.mean(0, keepdim=True)


class ValueLeaking(Tiny):
    """Rows share a value and no gradient, in whatever order they come."""

    def embed(self, tokens: Tensor, state: TinyState) -> Tensor:
        x = super().embed(tokens, state)
        return x + x.mean(0, keepdim=True).detach()


class GradientLeaking(Tiny):
    """Rows share a gradient and no value."""

    def embed(self, tokens: Tensor, state: TinyState) -> Tensor:
        x = super().embed(tokens, state)
        mean = x.mean(0, keepdim=True)
        return x + (mean - mean.detach())


class RowNumbering(Tiny):
    """A row's logits depend on its place in the batch."""

    def embed(self, tokens: Tensor, state: TinyState) -> Tensor:
        return super().embed(tokens, state) + torch.arange(len(tokens))[:, None, None]


class CarryingOver(Tiny):
    """An unrelated batch starts from the last one's memory."""

    def between_batches(self, state: TinyState, batch_size: int) -> TinyState:
        return state if len(state.last) == batch_size else self.initial_state(batch_size)

    def embed(self, tokens: Tensor, state: TinyState) -> Tensor:
        return super().embed(tokens, state) + state.last[:, None]


class CountingCalls(Tiny):
    """Every call writes a buffer that no logit depends on."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def embed(self, tokens: Tensor, state: TinyState) -> Tensor:
        self.calls += 1
        return super().embed(tokens, state)


class RollingDice(Tiny):
    """Every call draws from torch's global generator, and does not use what it drew."""

    def embed(self, tokens: Tensor, state: TinyState) -> Tensor:
        torch.rand(())
        return super().embed(tokens, state)


class WritingItsArgument(Tiny):
    """Changes the memory that it was given in place."""

    def embed(self, tokens: Tensor, state: TinyState) -> Tensor:
        state.last.add_(1.0)
        return super().embed(tokens, state)


class NonFiniteGradient(Tiny):
    """sqrt at 0 where the length is a multiple of 64: finite logits, gradients that are not."""

    def embed(self, tokens: Tensor, state: TinyState) -> Tensor:
        x = super().embed(tokens, state)
        return x + (x - x).abs().sqrt() if tokens.shape[1] % 64 == 0 else x


class Deadened(Tiny):
    """One parameter is detached, one is not used at all."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(3))

    def gate_logits(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.gate.weight.detach(), self.gate.bias)


class CollapsedGate(Tiny):
    """The gate is saturated on the current vector."""

    def gate_logits(self, x: Tensor) -> Tensor:
        return super().gate_logits(x) + torch.tensor([20.0, 10.0, 0.0])


class FixedGate(Tiny):
    """Shares of one half, three tenths and two tenths."""

    def gate_logits(self, x: Tensor) -> Tensor:
        return torch.tensor([0.5, 0.3, 0.2]).log().expand(*x.shape[:-1], 3)


class SharingWithNothing(Tiny):
    """Reports a share for long-term memory even while that is empty."""

    def forward(
        self, tokens: Tensor, state: TinyState | None = None, disabled: Collection[str] = ()
    ) -> ModelOutput[TinyState]:
        output = super().forward(tokens, state, disabled)
        return ModelOutput(
            output.logits, output.state, {**output.readings, "memory/gate_share/long_term": torch.tensor(1e-3)}
        )


class Gateless(Tiny):
    """Gives no readings."""

    def forward(
        self, tokens: Tensor, state: TinyState | None = None, disabled: Collection[str] = ()
    ) -> ModelOutput[TinyState]:
        output = super().forward(tokens, state)
        return ModelOutput(output.logits, output.state)


class Blind(Tiny):
    """Sees token 0 everywhere."""

    def embed(self, tokens: Tensor, state: TinyState) -> Tensor:
        return super().embed(torch.zeros_like(tokens), state)


class Crashing(Tiny):
    """Cannot take a sequence of one token."""

    def embed(self, tokens: Tensor, state: TinyState) -> Tensor:
        if tokens.shape[1] == 1:
            raise ValueError("one token is too short\nsecond line")
        return super().embed(tokens, state)


def experiment(**recipe: Any) -> ExperimentSpec:
    """An experiment whose suite expects every property to hold."""
    return ExperimentSpec(
        name="tiny",
        variant=TransformerSpec(name="tiny", hidden_size=8, num_heads=1, num_layers=1, intermediate_size=8),
        recipe=RecipeSpec(**{"name": "tiny", "steps": 20, "batch_size": 2, "sequence_length": 16, **recipe}),
        data=TextSpec(name="tiny"),
        suite=SuiteSpec(name="tiny", properties={name: Check() for name in PROPERTY_NAMES}),
    )


HEALTHY_METRICS = tuple({"step": step, "probe/loss": 3.0 - step / 20} for step in range(1, 21))
HEALTHY_SUMMARY = {"test_loss": 2.0, "test_ngram_loss": 2.3, "test_ngram_order": 5}


def subject(
    model: MemoryLanguageModel[Any] | None = None,
    *,
    consolidated: bool = True,
    metrics: tuple[dict[str, float], ...] = HEALTHY_METRICS,
    summary: Mapping[str, Any] = HEALTHY_SUMMARY,
) -> Subject:
    """`model` (healthy when none is given) with its memory after one batch."""
    model = Tiny() if model is None else model
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(VOCAB, (500,), generator=generator)
    with torch.no_grad(), torch.random.fork_rng():
        state = model(text[:32].view(2, 16)).state
    return Subject(experiment(), model, model.consolidate(state) if consolidated else state, text, metrics, summary)
