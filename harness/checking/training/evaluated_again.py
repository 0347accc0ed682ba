"""What is measured beside the loss: readings of several batches, switched-off memories, places where nothing counts."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cortexzoo.harness.checking.subject import Model, Subject
from cortexzoo.harness.checking.training.roles import LENGTH, text_of_roles
from cortexzoo.harness.checking.training.surroundings import region
from cortexzoo.harness.checking.training.witness import (
    Look,
    Record,
    append,
    brief,
    measured,
    on_a_tiny_model,
    trainer_of,
)
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.guards import RecoveryCheckpoints
from cortexzoo.specs.sleep import AcceptAlways, NoiseSleep
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.models.interface import MemoryState, ModelOutput
from cortexzoo.zoo.training.evaluation import Precision, evaluate, mean_cross_entropy, measure
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer

Figure = tuple[str, float, float]
"""Its name, as it is measured, and as it should be."""
UNDONE = 4
"""The step after whose sleep everything returns to a recovery point."""
RARE = "memory/a_reading_that_some_batches_lack"


@torch.no_grad()
def of_all_but_the_loss(subject: Subject, rows: int) -> list[Figure]:
    """Of three batches, in each of which other places count, and in one of them none; and of a text as a whole."""
    model, state, precision = subject.copy(), subject.state, subject.experiment.recipe.precision
    text = subject.sequences(rows, 3 * LENGTH)
    device = next(model.parameters()).device
    batches = [text[:, at * LENGTH // 2 : at * LENGTH // 2 + LENGTH + 1] for at in range(3)]
    counted = [torch.arange(LENGTH).expand(rows, -1) % (at + 2) == 0 for at in range(3)]
    counted[1] = torch.zeros_like(counted[1])
    figures = []
    switches = sorted(model.switches)[:1]
    for off in ((), switches) if switches else ((),):
        total, read = 0.0, dict[str, list[float]]()
        for tokens, places in zip(batches, counted, strict=True):
            here, there = tokens.to(device), places.to(device)
            with region(device, precision):
                output = model(here[:, :-1], model.between_batches(state, rows), tuple(off))
            chances = output.logits.double().log_softmax(-1).gather(-1, here[:, 1:, None])[..., 0]
            total -= float(chances[there].sum())
            for name, value in output.readings.items():
                read.setdefault(name, []).append(float(value))
        found = measure(model, batches, state=state, disabled=off, precision=precision, scored=counted)
        targets = sum(int(places.sum()) for places in counted)
        what = f"without {off[0]}" if off else "with all memories"
        figures += [(f"the loss where some places count, {what}", found.loss, total / targets),
                    (f"the number of places that count, {what}", found.targets, targets)]  # fmt: skip
        if not off:
            whole = measure(model, batches, state=state, precision=precision)
            figures += [
                (f"{name} of several batches", 1 + whole.readings.get(name, math.nan), 1 + math.fsum(each) / len(each))
                for name, each in read.items()
                if name in whole.readings and all(map(math.isfinite, each))
            ]
            hook = model.register_forward_hook(_with_a_rare_reading())
            rare = measure(model, batches, state=state, precision=precision)
            hook.remove()
            figures.append((f"{RARE} of two batches of three", rare.readings.get(RARE, math.nan), 2.0))
    none = mean_cross_entropy(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))
    return [*figures, ("a loss of no place, and one", 1 + float(none), 1.0), *_of_a_text(subject, model, state, rows)]


def _with_a_rare_reading() -> Callable[[object, object, ModelOutput[Any]], ModelOutput[Any]]:
    """What a memory reads that is not always there: 1 in the first batch, nothing in the second, 3 in the third."""
    calls = itertools.count(1)

    def reads(_model: object, _given: object, output: ModelOutput[Any]) -> ModelOutput[Any]:
        number = next(calls)
        rare = {RARE: torch.tensor(float(number))} if number % 2 else {}
        return replace(output, readings={**output.readings, **rare})

    return reads


def _of_a_text(subject: Subject, model: Model, state: MemoryState, rows: int) -> list[Figure]:
    """`evaluate` from a memory, without one, with one switched off, and in half precision."""
    data: TextData = text_of_roles(model.vocab_size)
    device = next(model.parameters()).device
    figures = []
    switches = sorted(model.switches)[:1]
    windows = [data.validation[at : at + LENGTH + 1].tolist() for at in range(0, len(data.validation) - LENGTH, LENGTH)]
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    for begun in (None, state):
        for off in ((), tuple(switches)) if switches else ((),):
            for precision in precisions:
                total = 0.0
                for first in range(0, len(windows), rows):
                    tokens = torch.tensor(windows[first : first + rows], device=device)
                    start = None if begun is None else model.between_batches(begun, len(tokens))
                    with region(device, precision):
                        logits = model(tokens[:, :-1], start, off).logits
                    total -= float(logits.double().log_softmax(-1).gather(-1, tokens[:, 1:, None]).sum())
                found = evaluate(
                    model, data, sequence_length=LENGTH, batch_size=rows, state=begun, disabled=off, precision=precision
                )
                what = f"{'from' if begun is not None else 'without'} a memory, {len(off)} switched off, in {precision}"
                figures.append((f"the loss of a text {what}", found, total / len(windows) / LENGTH))
    return figures


class _Undo(Policy):
    """Takes a step back that was taken, before the model sleeps after it."""

    name = "harness_undo"

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        if step.number == UNDONE:
            step.undo("undone by the harness")


def of_sleeps(experiment: ExperimentSpec) -> list[Figure]:
    """Held-out losses that are told where the model sleeps, and where a step is taken back after its sleep."""
    dreams = NoiseSleep(every=2, steps=2, batch_size=2, length=6, learning_rate=0.03, acceptance=AcceptAlways())
    changes: dict[str, Any] = {"sleep": dreams, "recovery": RecoveryCheckpoints(every=2), "precision": "fp32"}
    experiment = measured(brief(on_a_tiny_model(experiment), UNDONE + 1, **changes), validate_every=1)
    record, figures = Record(), list[Figure]()
    trainer = trainer_of(experiment, record, _Undo())
    text = text_of_roles(trainer.model.vocab_size).validation

    def look(_: Trainer, step: Step) -> None:
        """Of each window by itself."""
        windows = [text[at : at + LENGTH + 1].tolist() for at in range(0, len(text) - LENGTH, LENGTH)]
        nats = [_nats(trainer.model, torch.tensor([window], device=trainer.device)) for window in windows]
        told = record.steps[step.number].get("validation/loss", math.nan)
        figures.append((f"the held-out loss of step {step.number}, with sleeps", told, math.fsum(nats) / len(nats)))

    append(trainer, [Look(look)])
    trainer.run()
    return figures


@torch.no_grad()
def _nats(model: Model, window: Tensor) -> float:
    model.eval()
    chances = model(window[:, :-1], model.initial_state(1)).logits.double().log_softmax(-1)
    model.train()
    return -float(chances.gather(-1, window[:, 1:, None]).mean())
