"""Which data trains: every window once an epoch, in an order of seed and epoch, and nothing that is held out."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from cortexzoo.harness.checking.properties.base import Case, Finding, Property, number
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.roles import LENGTH, WINDOWS, training_starts
from cortexzoo.harness.checking.training.witness import (
    Fate,
    Record,
    Witness,
    brief,
    data_of,
    on_a_tiny_model,
    trainer_of,
)
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.data import TextSpec
from cortexzoo.zoo.build import load_data
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.data.text import TextData

BATCH = 4
EPOCHS = 3
DOCUMENTS = 12
"""Steps on a task."""
UNUSED, DRAWN, SIGMA = 10**6, 1000, 7.0
"""Documents that are drawn to see how many a task has; where none of them are equal there are some 100,000 or more."""
REFUSED: dict[int, Fate] = {2: "refuse"}


def serving_cases(_: Subject) -> Iterable[Case]:
    """With and without accumulation."""
    yield {"accumulation": 1}
    yield {"accumulation": 3}


def data_is_served_once_an_epoch(subject: Subject, case: Case) -> Finding:
    """What a training is given over three epochs of a short text, or over some steps of the subject's own task."""
    accumulation = number(case, "accumulation")
    if isinstance(data := data_of(subject.experiment), TaskData):
        wrong = _documents(subject.experiment, data, accumulation) + _text_of_a_task(data)
    else:
        tiny = on_a_tiny_model(subject.experiment)
        wrong = _windows(tiny, accumulation) + _parts(subject.experiment)
    if not wrong:
        return Finding(0, "every example came once, in an order of its own for each seed", case)
    return Finding(len(wrong), "; ".join(wrong[:3]), {**case, "first": wrong[0]})


def _windows(experiment: ExperimentSpec, accumulation: int) -> list[str]:
    steps = math.ceil(EPOCHS * WINDOWS / (BATCH * accumulation)) + 1
    spec = brief(experiment, steps, batch_size=BATCH, accumulation=accumulation)
    starts, again, other = (_starts(one) for one in (spec, spec, spec.model_copy(update={"seed": spec.seed + 1})))
    if any(start is None for start in starts):
        place = starts.index(None) // (BATCH * accumulation) + 1
        return [f"step {place} trains on what is no window of the training part"]
    served = [start for start in starts if start is not None]
    wrong = []
    epochs = [served[i * WINDOWS : (i + 1) * WINDOWS] for i in range(EPOCHS)]
    for epoch, windows in enumerate(epochs, start=1):
        if len(set(windows)) < WINDOWS:
            wrong.append(f"epoch {epoch} has {len(set(windows))} of {WINDOWS} windows, and others twice")
        if len({window % LENGTH for window in windows}) > 1:
            wrong.append(f"windows of epoch {epoch} overlap")
        if windows == sorted(windows):
            wrong.append(f"epoch {epoch} is in the order of the text")
    orders = [[sorted(windows).index(window) for window in windows] for windows in epochs]
    wrong += [f"epoch {i + 2} has the order of epoch {i + 1}" for i in range(EPOCHS - 1) if orders[i] == orders[i + 1]]
    if len({windows[0] % LENGTH for windows in epochs}) == 1:
        wrong.append("the windows of every epoch start at the same places")
    if again != starts:
        wrong.append("the same seed gives another order")
    if other == starts:
        wrong.append("another seed gives the same order")
    return wrong


def _starts(experiment: ExperimentSpec) -> list[int | None]:
    data = data_of(experiment)
    assert isinstance(data, TextData)
    return [start for tokens in _served(experiment) for start in training_starts(data, tokens.flatten(0, 1))]


def _served(experiment: ExperimentSpec) -> list[torch.Tensor]:
    witness = Witness(REFUSED)
    trainer_of(experiment, Record(), witness).run()
    return [served.tokens.cpu() for served in witness.served]


def _documents(experiment: ExperimentSpec, data: TaskData, accumulation: int) -> list[str]:
    """The rows of every step of a task: all differ, and none is a held-out document."""
    spec = brief(experiment, DOCUMENTS, accumulation=accumulation)
    served = _served(spec)
    rows = _digests(row for tokens in served for row in tokens.flatten(0, 1))
    other = _digests(
        row for tokens in _served(spec.model_copy(update={"seed": spec.seed + 1})) for row in tokens.flatten(0, 1)
    )
    chance = _chance(data)
    again = len(rows) - len(set(rows))
    wrong = [f"of {len(rows)} documents {len(set(rows))} differ"] if _more(again, len(rows) ** 2 / 2 * chance) else []
    for split in ("validation", "test"):
        kept = [_digests(data.task.batch(split, range(2 * len(rows)), gap).tokens) for gap in (0, 1)]
        shared = len({digest for digests in kept for digest in digests} & set(rows))
        if _more(shared, 2 * len(kept[0]) * len(rows) * chance):
            wrong.append(f"{shared} documents of the {split} split are trained on")
        if any(rows == digests[: len(rows)] for digests in kept):
            wrong.append(f"what is trained on are the documents of the {split} split in their order")
    if rows != _digests(row for tokens in _served(spec) for row in tokens.flatten(0, 1)):
        wrong.append("the same seed gives other documents")
    if rows == other:
        wrong.append("another seed gives the same documents")
    lengths = [tokens.shape[-1] for tokens in served]
    if any(sorted(lengths[i : i + 2]) != sorted(lengths[:2]) for i in range(0, DOCUMENTS, 2)):
        wrong.append("not every block of two steps has both gaps")
    return wrong


def _chance(data: TaskData) -> float:
    """How often two documents drawn apart are equal: a task of few keys and values has few documents."""
    drawn = Counter(_digests(data.task.batch("train", range(UNUSED, UNUSED + DRAWN), 0).tokens))
    return sum(count * (count - 1) for count in drawn.values()) / (DRAWN * (DRAWN - 1))


def _more(found: int, expected: float) -> bool:
    """Whether so many equal ones are no chance: none may be where none are expected, else one more than seven sigma."""
    return found > (expected + SIGMA * math.sqrt(expected) + 1 if expected else 0)


def _text_of_a_task(data: TaskData) -> list[str]:
    """The text beside a task: what may train comes before what is held out, and together they are all of it."""
    if data.text is None:
        return []
    train, held = data.training_tokens(), data.held_out_tokens()
    if train is None or not len(train) or not len(held):
        return ["of the task's text no part trains, or none is held out"]
    if np.array_equal(np.concatenate([train, held]), data.text):
        return []
    return ["the training and the held-out part of the task's text are not the text, one after the other"]


def _digests(rows: Any) -> list[str]:
    return [hashlib.sha256(row.contiguous().cpu().numpy().tobytes()).hexdigest() for row in rows]


def _parts(experiment: ExperimentSpec) -> list[str]:
    """The three parts of the subject's own text: nothing twice, nothing left out, of the sizes in the spec."""
    spec = experiment.data
    if not isinstance(spec, TextSpec):
        return []
    data = load_data(experiment)
    assert isinstance(data, TextData)
    if data.byte_counts is not None:
        return []  # tokens of several bytes: the sum is of the bytes
    whole = b"".join(part[:].tobytes() for part in (data.train, data.validation, data.test))
    wrong = []
    if hashlib.sha256(whole).hexdigest() != data.sha256:
        wrong.append("training, validation and test part are not the text, one after the other")
    wanted = {"validation": spec.validation_fraction, "test": spec.test_fraction}
    for part, share in wanted.items():
        size = len(getattr(data, part))
        if abs(size - share * len(whole)) > 1:
            wrong.append(f"the {part} part is {size} of {len(whole)} bytes, should be a share of {share:g}")
    return wrong


SERVING = (Property("data_is_served_once_an_epoch", data_is_served_once_an_epoch, serving_cases),)
