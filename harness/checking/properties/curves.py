"""The curves that a training records of itself, and what homeostasis does with its readings, worked out again."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from cortexzoo.harness.checking.properties.base import Case, Finding, Property, text
from cortexzoo.harness.checking.properties.figures import Pair
from cortexzoo.harness.checking.properties.opened import opened
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.clock_again import by_the_clock
from cortexzoo.harness.checking.training.witness import (
    Look,
    Record,
    append,
    brief,
    measured,
    on_a_tiny_model,
    trainer_of,
)
from cortexzoo.specs import recipe
from cortexzoo.specs.variant import CortexGPTSpec, SoftThreshold
from cortexzoo.zoo.models.cortexgpt import CortexGPTState
from cortexzoo.zoo.models.hybrid.state import HybridState
from cortexzoo.zoo.models.transformer import TransformerState
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer
from cortexzoo.zoo.training.recorder import TOKENS_PER_SECOND

STEPS, ROWS, PARTS = 4, 3, 2
KEPT, SCORED, FAR = 100, 128, 6.0
"""Taken steps of variance and percentile; losses, and deviations from them, of the spike score."""
TOLD = 300
"""Losses that the monitor is told."""
BARELY = 140
"""The place of a loss that is an outlier, and would not be one among the losses that it is compared with."""
UPDATE = "stability/update_rms"
Curves = dict[str, float]


def curve_cases(subject: Subject) -> Iterable[Case]:
    """Losses that the monitor is told, a training, and one with homeostasis where columns have a soft mask."""
    yield {"of": "losses"}
    yield {"of": "training"}
    variant = subject.experiment.variant
    if not isinstance(variant, CortexGPTSpec) or not isinstance(variant.columns.sparsity, SoftThreshold):
        return
    if variant.memory.short_term.kind != "none":  # without it there is no written-out form
        yield {"of": "homeostasis"}


def curves_match_a_reference(subject: Subject, case: Case) -> Finding:
    """What is recorded against what the harness works out from losses, outputs and weights."""
    of = text(case, "of")
    if of == "losses":
        pairs = _told(subject)
    elif of == "training":
        pairs = _trained(subject)
    else:
        pairs = opened(subject)
    if not pairs:
        return Finding(0, "every step of the training was refused", case)
    worst = max(pairs, key=lambda name: pairs[name].apart)
    pair = pairs[worst]
    reason = f"{worst} is {pair.found:.6g}, worked out again {pair.wanted:.6g}"
    return Finding(pair.apart, reason, {**case, "first": worst})


def _told(subject: Subject) -> dict[str, Pair]:
    """The monitor of a trainer and a list of losses with outliers, refused ones, and some that are no numbers."""
    trainer = trainer_of(brief(on_a_tiny_model(subject.experiment), 1), Record())
    monitor = _policy(trainer, "stability")
    generator = torch.Generator().manual_seed(0)
    losses = (2 + 0.1 * torch.randn(TOLD, generator=generator)).tolist()
    norms = (1 + 0.5 * torch.rand(TOLD, generator=generator)).tolist()
    for place, far in {10: 4.0, 150: 3.0, 200: 1.0, 280: math.nan, 290: math.inf, 250: 2.6}.items():
        losses[place] = far
    before = losses[BARELY - SCORED : BARELY]
    losses[BARELY] = math.fsum(before) / SCORED + 1.1 * FAR * math.sqrt(_variance(before))
    norms[230] = math.nan
    refused = {40, 150, 280}
    pairs = {name: Pair(*pair) for name, pair in by_the_clock(trainer).items()}
    for place, (loss, norm) in enumerate(zip(losses, norms, strict=True)):
        step = Step(place + 1, loss=loss, gradient_norm=norm)
        tell = monitor.step_refused if place in refused else monitor.step_taken
        tell(trainer, step)
        wanted = _of_losses(losses[: place + 1], norms, [at for at in range(place + 1) if at not in refused])
        pairs |= {
            f"{name} after {place + 1} losses": Pair(step.metrics.get(name, math.nan), value)
            for name, value in wanted.items()
        }
    return pairs


def _of_losses(losses: Sequence[float], norms: Sequence[float], taken: Sequence[int]) -> Curves:
    outliers = 0
    for place, loss in enumerate(losses):
        before = [earlier for earlier in losses[:place] if math.isfinite(earlier)][-SCORED:]
        if not math.isfinite(loss):
            outliers += 1
        elif len(before) == SCORED:
            mean = math.fsum(before) / SCORED
            outliers += abs(loss - mean) > FAR * math.sqrt(_variance(before))
    kept = [place for place in taken if math.isfinite(losses[place]) and math.isfinite(norms[place])][-KEPT:]
    curves = {"stability/spike_score": 100 * outliers / len(losses)}
    if kept:
        ranked = sorted(norms[place] for place in kept)
        at = 0.9 * (len(ranked) - 1)
        low, high = ranked[math.floor(at)], ranked[math.ceil(at)]
        curves["stability/loss_variance"] = _variance([losses[place] for place in kept])
        curves["stability/gradient_percentile_90"] = low + (at - math.floor(at)) * (high - low)
    return curves


def _variance(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / len(values)


class _Before(Policy):
    """Keeps the weights as they are before each update."""

    name = "harness_before"

    def __init__(self) -> None:
        self.weights: list[Tensor] = []

    def gradients_ready(self, trainer: Trainer, step: Step) -> None:
        self.weights = [parameter.detach().clone() for parameter in trainer.trainable]


def _trained(subject: Subject) -> dict[str, Pair]:
    """A short training in two parts a step: means of readings, the size of each second update, sizes of memories.

    Of steps that are taken, and the size of an update to a hundredth of what else is: millions of weights are summed in
    float32.
    """
    experiment = measured(
        brief(subject.experiment, STEPS, batch_size=ROWS, accumulation=PARTS,
              consolidation=recipe.EveryInterval(every=1)),
        probe_every=2,
    )  # fmt: skip
    record, before = Record(), _Before()
    trainer = trainer_of(experiment, record, before)
    given: list[Mapping[str, Tensor]] = []
    read: dict[int, int] = {}
    hook = trainer.network.register_forward_hook(lambda _module, _inputs, result: given.append(result[1].readings))
    wanted: dict[int, Curves] = {}

    def look(_: Trainer, step: Step) -> None:
        if step.refused is not None:
            given.clear()
            return
        names = dict.fromkeys(name for readings in given for name in readings)
        curves = {
            name: statistics.fmean(float(readings[name]) for readings in given if name in readings) for name in names
        }
        squares = sum(
            float((parameter.detach() - old).cpu().double().square().sum())
            for parameter, old in zip(trainer.trainable, before.weights, strict=True)
        )
        count = sum(old.numel() for old in before.weights)
        curves[UPDATE] = math.sqrt(squares / count) if step.number % 2 == 0 else math.nan
        curves |= {f"train/{name}_size": float(size) for name, size in _sizes(trainer.memory).items()}
        wanted[step.number] = curves
        read[step.number] = step.tokens[..., 1:].numel() if step.tokens is not None else 0
        given.clear()

    append(trainer, [Look(look)])
    try:
        trainer.run()
    finally:
        hook.remove()
    found = {
        f"{name} of step {step}": Pair(
            record.steps[step].get(name, math.nan), value, 100 * value if name == UPDATE else 0.0
        )
        for step, curves in wanted.items()
        for name, value in curves.items()
    }
    return found | _of_the_clock(trainer, record, read)


def _sizes(memory: Any) -> dict[str, int]:
    """Entries of each memory, by the tensors that it consists of."""
    match memory, memory.tensors():
        case CortexGPTState(), named:
            long_term = next((named[name] for name in ("long_term.codes", "diary.tokens") if name in named), None)
            return {"stm": named["short_term.keys"].shape[1], "ltm": 0 if long_term is None else len(long_term)}
        case HybridState(), named:
            window = next(tensor for name, tensor in named.items() if name.endswith("window_keys"))
            return {"window": window.shape[1], "cache": named["base.0.keys"].shape[2] if "base.0.keys" in named else 0}
        case TransformerState(), named:
            return {"cache": named["keys"].shape[3]}
    sizes: dict[str, int] = memory.sizes()
    return sizes


def _of_the_clock(trainer: TrainingLoop, record: Record, read: Mapping[int, int]) -> dict[str, Pair]:
    """Tokens a second of each step, with the tokens that it read, make up the time and the tokens of the whole."""
    told = cast(Any, _policy(trainer, "telemetry"))
    rates = {step: record.steps[step].get(TOKENS_PER_SECOND, math.nan) for step in read}
    seconds = math.fsum(tokens / rates[step] for step, tokens in read.items())
    whole = math.fsum(read.values())
    if not read:
        return {}
    return {
        "the seconds of all steps": Pair(told.seconds, seconds),
        "tokens a second": Pair(told.tokens_per_second, whole / seconds),
    }


def _policy(trainer: TrainingLoop, name: str) -> Policy:
    return next(policy for policy in trainer.policies if policy.name == name)


CURVES = (Property("curves_match_a_reference", curves_match_a_reference, curve_cases),)
