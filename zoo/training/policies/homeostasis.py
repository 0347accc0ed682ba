"""Homeostasis: columns and gate sources that are used too little are opened, whatever the gradient does."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cortexzoo.specs.metrics import GATE_SHARE
from cortexzoo.specs.plasticity import UsageTargets
from cortexzoo.zoo.memory.gate import SOURCES
from cortexzoo.zoo.models.columns import Columns
from cortexzoo.zoo.models.cortexgpt import CortexGPT, CortexGPTState
from cortexzoo.zoo.training.evaluation import autocast, undisturbed
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer


@dataclass(frozen=True)
class Usage:
    """How much each part was used in one forward call."""

    columns: Float[Tensor, " columns"]
    """Mean mask."""
    sources: Float[Tensor, " sources"]
    """Mean share of the sources that enter by the gate; NaN where one is empty."""


def usage_of(model: CortexGPT, tokens: Int[Tensor, "batch time"], state: CortexGPTState | None) -> Usage:
    """The usage on these tokens; model and generators are left as they were. Needs columns with a soft mask."""
    scores: list[Tensor] = []
    hook = model.columns.score.register_forward_hook(lambda _module, _inputs, scored: scores.append(scored))
    try:
        with undisturbed(model):
            readings = model(tokens, state).readings
    finally:
        hook.remove()
    names = [f"{GATE_SHARE}{source}" for source in SOURCES[: model.memory.gate.sources]]
    empty = torch.full((), torch.nan, device=tokens.device)
    shares = [readings.get(name, empty) for name in names]
    return Usage(_masks(model.columns, scores[0].float()).mean(dim=0), torch.stack(shares).float())


class Homeostasis(Policy):
    """After every `every`th step: odds to open *= (target / usage) ^ rate, where usage is below its target.

    A column opens by sigmoid(score / temperature), a source by sigmoid(logit / temperature), so the odds of both are
    scaled through a bias: b += temperature * rate * log(target / usage). Source: Turrigiano 2008,
    doi:10.1016/j.cell.2008.10.008. Differs: what is scaled are the odds to open, not the synapses themselves, and
    nothing that is used enough is scaled down.
    """

    name = "homeostasis"

    def __init__(self, spec: UsageTargets) -> None:
        self.spec = spec

    @torch.no_grad()
    def step_taken(self, trainer: Trainer, step: Step) -> None:
        if step.number % self.spec.every or step.tokens is None:
            return
        model, memory = trainer.model, trainer.memory
        assert isinstance(model, CortexGPT), "the experiment is validated"
        assert isinstance(memory, CortexGPTState)
        tokens = step.tokens[-1][:, :-1]
        with autocast(trainer.device, trainer.precision):
            used = usage_of(model, tokens, model.between_batches(memory, len(tokens)))
        columns, sources = _mean(trainer, "column", used.columns), _mean(trainer, "source", used.sources)
        _scale(model.columns.score.bias, columns, self.spec.columns, self.spec.rate, _temperature(model.columns.spec))
        gate = model.memory.gate
        _scale(gate.linear.bias, sources, self.spec.sources, self.spec.rate, _temperature(gate.spec))
        step.metrics["homeostasis/least_column"] = float(columns.min())
        step.metrics["homeostasis/columns_below"] = float((columns < self.spec.columns).sum())
        step.metrics["homeostasis/sources_below"] = float((sources < self.spec.sources).sum())


def _scale(bias: Tensor, used: Tensor, target: float, rate: float, temperature: float) -> None:
    below = used < target  # false for NaN
    bias += torch.where(below, temperature * rate * (target / used.clamp_min(1e-12)).log(), 0.0).to(bias)


def _mean(trainer: Trainer, name: str, values: Tensor) -> Tensor:
    """Over processes, so that all of them scale alike."""
    means = trainer.ranks.mean({f"{name}/{number}": float(value) for number, value in enumerate(values)})
    return torch.tensor([means[f"{name}/{number}"] for number in range(len(values))], device=values.device)


def _masks(columns: Columns, scores: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
    soft: Any = columns.spec.sparsity
    opened = (scores / soft.temperature).sigmoid()
    masks: Tensor = (soft.sharpness * (opened - soft.threshold)).sigmoid()
    return masks


def _temperature(spec: Any) -> float:
    return float(getattr(getattr(spec, "sparsity", spec), "temperature", 1.0))
