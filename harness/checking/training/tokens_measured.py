"""Held-out losses of a text in tokens of several bytes, in documents or in one, measured again window by window."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cortexzoo.harness.checking.training.roles import LENGTH
from cortexzoo.harness.checking.training.surroundings import region
from cortexzoo.harness.checking.training.witness import Look, Record, append, brief, measured, on_a_tiny_model
from cortexzoo.specs import ExperimentSpec
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.data.text import HeldOutPart, Part, TextData
from cortexzoo.zoo.data.text_vocabulary import Lengths, TextVocabulary, TokenArray
from cortexzoo.zoo.training.evaluation import evaluate
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Step, Trainer

STEPS = 2
NAMES: tuple[Part, ...] = ("training", "validation", "test")
TOKENS = 256
DOCUMENTS: dict[Part, Sequence[int]] = {
    "training": (40, 7, 61, 30), "validation": (5, 37, 2, 18, 50, 9), "test": (21, 3, LENGTH + 1, 40)
}  # fmt: skip
"""Their lengths: some end within a window, some have none."""
STRETCH: dict[Part, float] = {"training": 1.5, "validation": 1.25, "test": 1.0}
"""Bytes of the text by bytes that its tokens spell: a tokenizer may leave something out, more of one part."""


class Syllables(TextVocabulary):
    """Tokens of one, two and three bytes."""

    size, unit, sha256 = TOKENS, "token", "of the harness"

    def encode(self, text: bytes) -> TokenArray:
        return np.frombuffer(text, dtype=np.uint8)

    def bytes_of(self, tokens: TokenArray) -> Any:
        return np.repeat(np.asarray(tokens, dtype=np.uint8), self.lengths[tokens])

    @property
    def lengths(self) -> Lengths:
        return np.arange(TOKENS, dtype=np.int64) % 3 + 1


def of_tokens(
    experiment: ExperimentSpec, rows: int, some: int | None, in_documents: bool
) -> list[tuple[str, float, float]]:
    """What a short training in float32 on such a text reports: the name of each figure, and what it should be."""
    data, record = _text(in_documents), Record()
    experiment = measured(
        brief(on_a_tiny_model(experiment), STEPS, batch_size=rows, precision="fp32"),
        validate_every=1, probe_every=1, validation_sequences=some,
    )  # fmt: skip
    model = build_model(experiment.variant, experiment.seed)
    trainer = TrainingLoop(model, experiment, data, recorder=record)
    wanted: dict[tuple[str, int], float] = {}

    def look(_: Trainer, step: Step) -> None:
        figures = _measured_again(trainer, data, rows, some)
        wanted.update({(name, step.number): value for name, value in figures.items()})

    append(trainer, [Look(look)])
    trainer.run()
    figures = [
        (f"{name} of step {step}", record.steps[step].get(name, float("nan")), value)
        for (name, step), value in wanted.items()
    ]
    parts: tuple[HeldOutPart, ...] = ("validation", "test")
    for part in parts:
        found = evaluate(
            model, data, sequence_length=LENGTH, batch_size=rows, at_most=some, part=part, precision=trainer.precision
        )
        figures.append((f"the loss of the {part} part", found, _a_byte(trainer, data, part, some)[0]))
    return figures


def _text(in_documents: bool) -> TextData:
    drawn, vocabulary = np.random.default_rng(0), Syllables()
    parts = {name: drawn.integers(TOKENS, size=sum(lengths)).astype(np.uint8) for name, lengths in DOCUMENTS.items()}
    spelled = {name: int(vocabulary.lengths[tokens].sum()) for name, tokens in parts.items()}
    counts = {name: int(STRETCH[name] * size) for name, size in spelled.items()}
    begins = {name: np.cumsum([0, *lengths[:-1]]) for name, lengths in DOCUMENTS.items()} if in_documents else None
    train, validation, test = (parts[name] for name in NAMES)
    return TextData(train, validation, test, "a text of the harness", vocabulary, counts, spelled, begins)


def _windows(data: TextData, part: HeldOutPart) -> list[tuple[int, int]]:
    """Where each begins, and how many targets it has in its own document; without documents only whole windows."""
    if data.documents is None:
        return [(start, LENGTH) for start in range(0, len(data.part(part)) - LENGTH, LENGTH)]
    documents = pairwise(np.cumsum([0, *DOCUMENTS[part]]).tolist())
    return [
        (start, min(LENGTH, end - 1 - start)) for begin, end in documents for start in range(begin, end - 1, LENGTH)
    ]


def _measured_again(trainer: TrainingLoop, data: TextData, rows: int, some: int | None) -> dict[str, float]:
    a_byte, a_token = _a_byte(trainer, data, "validation", some)
    probed, asked = _nats(trainer, data, "validation", _spread(_windows(data, "validation"), rows))
    return {
        "validation/loss": a_byte, "validation/loss_per_token": a_token, "probe/loss": probed / len(asked),
    }  # fmt: skip


def _a_byte(trainer: TrainingLoop, data: TextData, part: HeldOutPart, some: int | None) -> tuple[float, float]:
    """Nats a byte and a token of a part."""
    windows, lengths = _windows(data, part), np.arange(TOKENS) % 3 + 1
    nats, targets = _nats(trainer, data, part, windows if some is None else _spread(windows, some))
    spelled = sum(int(lengths[token]) for token in data.part(part)[:].tolist())
    assert data.byte_counts is not None
    size = data.byte_counts[part] / spelled * sum(int(lengths[token]) for token in targets)
    return nats / size, nats / len(targets)


def _spread(windows: list[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    if count >= len(windows):
        return windows
    return [windows[int((i + 0.5) * len(windows) / count)] for i in range(count)]


@torch.no_grad()
def _nats(
    trainer: TrainingLoop, data: TextData, part: HeldOutPart, windows: list[tuple[int, int]]
) -> tuple[float, list[int]]:
    """Over the targets of these windows, each read by itself; and the targets."""
    total, asked = 0.0, list[int]()
    model = trainer.model.eval()
    for start, count in windows:
        tokens = torch.tensor(data.part(part)[start : start + count + 1].tolist(), device=trainer.device)[None]
        with region(trainer.device, trainer.precision):
            logits: Tensor = model(tokens[:, :-1], model.initial_state(1)).logits.double()
        total -= float(logits.log_softmax(-1).gather(-1, tokens[:, 1:, None]).sum())
        asked += tokens[0, 1:].tolist()
    model.train()
    return total, asked
