"""A model with memory that trains in milliseconds, and what a test needs around it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cortexzoo.specs.data import TextSpec
from cortexzoo.specs.experiment import ExperimentSpec
from cortexzoo.specs.recipe import AdamWSpec, EveryInterval, MonitorSpec, RecipeSpec
from cortexzoo.specs.suite import Check, SuiteSpec
from cortexzoo.specs.variant import TransformerSpec
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState, ModelOutput
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Policy, Step

HIDDEN = 6


@dataclass(frozen=True)
class TinyState(MemoryState):
    """Running sum of each row's inputs, and a store of past sums."""

    sums: Float[Tensor, "batch hidden"]
    store: Float[Tensor, "entries hidden"]

    def tensors(self) -> dict[str, Tensor]:
        return {"sums": self.sums, "store": self.store}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "TinyState":
        if missing := sorted({"sums", "store"} - set(tensors)):
            raise ValueError(f"memory state lacks {missing[0]}")
        return cls(tensors["sums"], tensors["store"])

    def sizes(self) -> dict[str, int]:
        return {"stm": int(self.sums.abs().sum() > 0), "ltm": len(self.store)}


class TinyModel(MemoryLanguageModel[TinyState]):
    """logits = head(dropout(x) + short(tanh running sum) + mean of store), with head tied to the embedding."""

    switches = ("short_term",)

    def __init__(self, *, dropout: float = 0.2, carry_over: bool = False, vocab_size: int = 256) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.carry_over = carry_over
        self.embedding = nn.Embedding(vocab_size, HIDDEN)
        self.short = nn.Linear(HIDDEN, HIDDEN)
        self.long = nn.Linear(HIDDEN, HIDDEN)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(HIDDEN, vocab_size)
        self.head.weight = self.embedding.weight

    def initial_state(self, batch_size: int) -> TinyState:
        like = self.embedding.weight
        return TinyState(like.new_zeros(batch_size, HIDDEN), like.new_zeros(0, HIDDEN))

    def forward(
        self, tokens: Int[Tensor, "batch time"], state: TinyState | None = None, disabled: Collection[str] = ()
    ) -> ModelOutput[TinyState]:
        state = state or self.initial_state(len(tokens))
        x = self.embedding(tokens)
        sums = state.sums[:, None] + x.detach().cumsum(dim=1)
        h = self.dropout(x)
        if "short_term" not in disabled:
            h = h + self.short(sums.tanh())
        if len(state.store):
            h = h + self.long(state.store.mean(dim=0))
        readings = {"memory/gate_share/current": h.detach().mean(), "memory/gate_share/short_term": sums.mean()}
        return ModelOutput(self.head(h), replace(state, sums=sums[:, -1]), readings)

    def between_batches(self, state: TinyState, batch_size: int) -> TinyState:
        fresh = self.initial_state(batch_size)
        kept = self.carry_over and len(state.sums) == batch_size
        return replace(state, sums=state.sums if kept else fresh.sums)

    def consolidate(self, state: TinyState) -> TinyState:
        return replace(state, store=torch.cat([state.store, state.sums.tanh()]))

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        named = {"short_term": list(self.short.parameters()), "long_term": list(self.long.parameters())}
        return {"base": [self.embedding.weight, self.head.bias], **named}


def tiny_model(seed: int = 0, **kwargs: Any) -> TinyModel:
    """Fresh weights from their own seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TinyModel(**kwargs)


def tiny_spec(seed: int = 0, **recipe: Any) -> ExperimentSpec:
    """An experiment of 12 steps that validates, probes, consolidates and saves."""
    values: dict[str, Any] = {
        "steps": 12,
        "batch_size": 4,
        "sequence_length": 8,
        "optimizer": AdamWSpec(learning_rate=0.01),
        "consolidation": EveryInterval(every=3),
        "monitor": MonitorSpec(probe_every=2, validate_every=4, checkpoint_every=5, swing_window=4),
    }
    return ExperimentSpec(
        name="tiny",
        variant=TransformerSpec(name="unused"),
        recipe=RecipeSpec(name="tiny", **values | recipe),
        data=TextSpec(name="tiny"),
        suite=SuiteSpec(name="tiny", properties={"causality": Check()}),
        seed=seed,
    )


def tiny_data(size: int = 2000) -> TextData:
    """Bytes with some structure to learn."""
    return TextData.from_bytes(bytes((i * i + 3 * (i % 7)) % 61 for i in range(size)), 0.2)


@dataclass
class Notebook:
    """A recorder that keeps everything."""

    rows: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    events: list[tuple[int, str, dict[str, object]]] = field(default_factory=list)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.rows.append((step, dict(values)))

    def event(self, step: int, kind: str, detail: Mapping[str, object]) -> None:
        self.events.append((step, kind, dict(detail)))

    def column(self, name: str) -> dict[int, float]:
        return {step: values[name] for step, values in self.rows if name in values}

    def count(self, kind: str) -> list[int]:
        return [step for step, event, _ in self.events if event == kind]


class At(Policy):
    """Does something when a step of a given number reaches a given moment."""

    name = "at"

    def __init__(self, moment: str, steps: set[int], action: Callable[[TrainingLoop, Step], object]) -> None:
        def act(trainer: TrainingLoop, step: Step) -> None:
            if step.number in steps:
                action(trainer, step)

        setattr(self, moment, act)


class PoisonedLoss(Policy):
    """Makes the loss of some steps NaN through one weight, which is whole again afterwards."""

    name = "poisoned_loss"

    def __init__(self, steps: set[int], rank: int = 0) -> None:
        self.steps = steps
        self.rank = rank
        self.clean: Tensor | None = None

    def batch_ready(self, trainer: TrainingLoop, step: Step) -> None:
        if step.number in self.steps and trainer.ranks.rank == self.rank:
            bias = trainer.model.head.bias
            self.clean = bias.detach().clone()
            bias.data[0] = float("nan")

    def step_refused(self, trainer: TrainingLoop, step: Step) -> None:
        if self.clean is not None:
            trainer.model.head.bias.data.copy_(self.clean)
            self.clean = None


class PoisonedGradient(Policy):
    """Makes one gradient element of some steps NaN, with a finite loss."""

    name = "poisoned_gradient"

    def __init__(self, model: TinyModel, steps: set[int]) -> None:
        self.steps = steps
        self.here = False
        model.short.bias.register_hook(self._poison)

    def batch_ready(self, trainer: TrainingLoop, step: Step) -> None:
        self.here = step.number in self.steps

    def _poison(self, gradient: Tensor) -> Tensor:
        return torch.where(torch.arange(HIDDEN) == 2, float("nan"), gradient) if self.here else gradient


def weights(model: nn.Module) -> dict[str, Tensor]:
    """A copy of everything that training changes."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same_tensors(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Bitwise equality of two sets of named tensors."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
