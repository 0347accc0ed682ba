"""What is measured beside the loss: readings of several batches, switched-off memories, places where nothing counts."""

import math

import torch

from cortexzoo.harness.checking.subject import Model, Subject
from cortexzoo.harness.checking.training.roles import LENGTH, text_of_roles
from cortexzoo.harness.checking.training.surroundings import region
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.models.interface import MemoryState
from cortexzoo.zoo.training.evaluation import Precision, evaluate, mean_cross_entropy, measure

Figure = tuple[str, float, float]
"""Its name, as it is measured, and as it should be."""


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
    none = mean_cross_entropy(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))
    return [*figures, ("a loss of no place, and one", 1 + float(none), 1.0), *_of_a_text(subject, model, state, rows)]


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
