"""The training loop again, from the documentation alone, to compare the real one with.

It shares no rule with `cortexzoo.zoo.training`: AdamW and gradient norms are torch's, forward calls are the model's,
and schedule, decay, accumulation, refusals and rollbacks are written out here.
"""

import copy
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from cortexzoo.harness.checking.training.reference_clipping import ReferenceClipping
from cortexzoo.harness.checking.training.surroundings import Generators, left_alone, region
from cortexzoo.harness.checking.training.witness import Served
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.guards import RecoveryCheckpoints
from cortexzoo.specs.recipe import AtRandom, Constant, Cosine, CosineRestarts, EveryInterval, ScheduleSpec, Trapezoid
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.models.cortexgpt import CortexGPT
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState
from cortexzoo.zoo.streams import Stream

GROUPS = (
    (r"memory\.short_term\.", "short_term"),
    (r"memory\.long_term\.consolidation_network\.", "consolidator"),
    (r"memory\.long_term\.|contexts\.", "long_term"),
    (r"sidecars\.\d+\.memory\.gates\.", "memory_gates"),
)
"""Of parameters whose names begin so, the factor of their rate: that of the first that does."""


@dataclass(frozen=True)
class _Point:
    """What a rollback returns to."""

    weights: dict[str, Tensor]
    moments: dict[str, Any]
    memory: MemoryState
    clipping: ReferenceClipping
    random_state: Generators
    taken: int


class ReferenceLoop:
    """A fresh model of the experiment, trained on what it is given, one step a call of `step`, on the same device."""

    def __init__(self, experiment: ExperimentSpec, random_state: Generators) -> None:
        recipe = experiment.recipe
        self.recipe, self.seed = recipe, experiment.seed
        self.model: MemoryLanguageModel[Any] = build_model(experiment.variant, experiment.seed).train()
        self.model.to(random_state.device)
        self.start = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.trainable = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        spec = recipe.optimizer
        self.optimizer = torch.optim.AdamW(
            _groups(self.model, recipe), betas=(spec.beta1, spec.beta2), eps=spec.eps, fused=True
        )
        self.clipping = ReferenceClipping(recipe.clipping)
        self.memory: MemoryState = self.model.initial_state(recipe.batch_size)
        self.taken = 0
        self.losses: dict[int, float] = {}
        self.rates: dict[int, float] = {}
        self.norms: dict[int, float] = {}
        self._random_state = random_state
        self._point = self._copy()

    def step(self, served: Served, places: Sequence[Tensor] | None, fate: str | None, scale: float) -> None:
        """One step: taken (`fate` None), refused once its loss is known, or refused and rolled back.

        `places`: where each row of each micro-batch stands in the training text. Gradients are multiplied by `scale`.
        """
        recipe, count = self.recipe, len(served.tokens)
        state, losses = self.memory, []
        device = self._random_state.device
        with left_alone(device):
            self._random_state.restore()
            for index, tokens in enumerate(served.tokens):
                with torch.no_grad():
                    state = self.model.between_batches(state, len(tokens))
                scored = None if served.scored is None else served.scored[index]
                with region(device, recipe.precision):
                    at = None if places is None else places[index]
                    reported, followed, state = self._loss(tokens, scored, state, at)
                state = state.detached()
                losses.append(reported.item())
                if fate is None:
                    (followed / count).backward()
            self._random_state = Generators.now(device)
        self.losses[served.number] = math.fsum(losses) / count
        if fate is None:
            for parameter in self.trainable:
                if parameter.grad is not None:
                    parameter.grad.mul_(scale)
            self._take(served.number, state)
        self._over(served.number)
        recovery = recipe.recovery
        if fate == "roll_back":
            self._return(served.number)
        elif isinstance(recovery, RecoveryCheckpoints) and self.taken - self._point.taken >= recovery.every:
            self._point = self._copy()

    def _take(self, number: int, state: MemoryState) -> None:
        recipe = self.recipe
        rate = recipe.optimizer.learning_rate * schedule_factor(recipe.schedule, self.taken, recipe.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        gradients = [parameter.grad for parameter in self.trainable if parameter.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(gradients))
        self.rates[number], self.norms[number] = rate, norm
        self.clipping.clip(self.trainable, norm)
        self._clipped(number)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.clipping.step_taken()
        self.taken += 1
        self.memory = state
        if consolidates(self.recipe.consolidation, self.seed, number):
            with torch.no_grad():
                self.memory = self.model.consolidate(self.memory)

    def _loss(
        self, tokens: Tensor, scored: Tensor | None, begun: Any, places: Tensor | None
    ) -> tuple[Tensor, Tensor, MemoryState]:
        """The loss that is reported, the one that is followed downhill, and the memory."""
        targets = tokens[:, 1:]
        state = begun if places is None else self.model.placed(begun, places)
        if scored is not None:
            output = self.model.logits_at(tokens[:, :-1], scored, state)
            loss = F.cross_entropy(output.logits.float(), targets[scored])
            return loss, loss, output.state
        output = self.model(tokens[:, :-1], state)
        loss = F.cross_entropy(output.logits.float().flatten(0, 1), targets.flatten())
        beside = self._beside(tokens, output.logits, begun, places)
        if output.alone is None or output.alone_weight == 0:
            return loss + beside, loss + beside, output.state
        alone = F.cross_entropy(output.alone.float().flatten(0, 1), targets.flatten())
        followed = (loss + output.alone_weight * alone) / (1 + output.alone_weight)
        return loss + beside, followed + beside, output.state

    def _beside(self, tokens: Tensor, logits: Tensor, begun: Any, places: Tensor | None) -> Tensor | float:
        """What an objective adds to the loss of all targets."""
        return 0.0

    def _clipped(self, number: int) -> None:
        """Gradients are final, and the weights as they were."""

    def _over(self, number: int) -> None:
        """The step is over, taken or not, and not yet rolled back."""

    def _copy(self) -> _Point:
        return _Point(
            {name: tensor.clone() for name, tensor in self.model.state_dict().items()},
            copy.deepcopy(self.optimizer.state_dict()),
            self.memory,
            copy.deepcopy(self.clipping),
            self._random_state,
            self.taken,
        )

    def _return(self, number: int) -> None:
        point = self._point
        self.model.load_state_dict(point.weights)
        self.optimizer.load_state_dict(copy.deepcopy(point.moments))
        self.clipping = copy.deepcopy(point.clipping)
        self.memory, self._random_state, self.taken = point.memory, point.random_state, point.taken


def schedule_factor(schedule: ScheduleSpec, taken: int, steps: int) -> float:
    """The factor on the rate of the step after `taken` steps."""
    if isinstance(schedule, CosineRestarts):
        start, period = 0, schedule.period
        while taken >= start + period:
            start, period = start + period, period * schedule.multiplier
        return 0.5 * (1 + math.cos(math.pi * (taken - start) / period))
    warmup, number = steps_of_warmup(schedule, steps), taken + 1
    if number <= warmup:
        return number / warmup
    match schedule:
        case Constant():
            return 1.0
        case Cosine(final_ratio=final):
            share = min(1.0, (number - warmup) / (steps - warmup))
            return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * share))
        case Trapezoid(decay_ratio=ratio, final_ratio=final):
            falling = round(ratio * steps)
            left = min(1.0, (steps - number) / falling) if falling else 1.0
            return final + (1 - final) * left


def steps_of_warmup(schedule: ScheduleSpec, steps: int) -> int:
    """The steps in which the rate rises, fewer than there are."""
    return 0 if isinstance(schedule, CosineRestarts) else min(round(schedule.warmup_ratio * steps), steps - 1)


def consolidates(spec: object, seed: int, number: int) -> bool:
    """Whether memory is consolidated after step `number`."""
    match spec:
        case EveryInterval(every=every):
            return number % every == 0
        case AtRandom(probability=probability):
            return bool(Stream.CONSOLIDATION.generator(seed, number).random() < probability)
    return False


def _groups(model: MemoryLanguageModel[Any], recipe: Any) -> list[dict[str, Any]]:
    """A group a parameter: its rate factor, and decay if it is a matrix of no embedding."""
    spec = recipe.optimizer
    lookups = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    groups = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        group = next((group for path, group in GROUPS if re.match(path, name)), "base")
        factor = 1.0 if group == "base" or not isinstance(model, CortexGPT | Hybrid) else _factor(recipe, group)
        is_matrix = parameter.dim() > 1 and not name.endswith("bias")
        decay = spec.weight_decay if is_matrix and id(parameter) not in lookups else 0.0
        groups.append({"params": [parameter], "weight_decay": decay, "factor": factor, "lr": 0.0})
    return groups


def _factor(recipe: Any, group: str) -> float:
    return float(getattr(recipe.optimizer.rate_factors, group))
