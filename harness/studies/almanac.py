"""Facts far apart: what the stable CortexGPT answers of an almanac whose facts were never trained on."""

from collections.abc import Collection, Mapping, Sequence
from statistics import fmean

import numpy as np
import torch

from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.studies.cells import Result, StudyCell, mean_and_spread
from cortexzoo.specs.data import Almanac, TextSpec
from cortexzoo.zoo.build import load_data
from cortexzoo.zoo.data.almanac import CHANCE, Question, questions_in
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.errors import DataError
from cortexzoo.zoo.training.evaluation import undisturbed

PAGE = "long-term-memory.md"
STABLE = "cortexgpt-stable"
DATA = ("data=almanac",)
WITH, WITHOUT = "with long-term memory", "trained without long-term memory"
PIECE = 128
"""Bytes read at once."""
CONSOLIDATED = 32
"""Pieces after which what was read can be found: 4,096 bytes, where a question comes 10,000 after its statement."""


def cells() -> list[StudyCell]:
    """The runs that the study compares."""
    return [StudyCell(WITH, STABLE, DATA), StudyCell(WITHOUT, STABLE, (*DATA, "variant.memory.long_term={kind: none}"))]


def table(results: Mapping[str, Result]) -> list[tuple[str, ...]]:
    """Header and rows: shares of the test part's questions that are answered."""
    header = ("run", "questions", "writes what it reads", "does not write", "long-term memory off")
    return [header, *(_row(label, result) for label, result in results.items())]


def findings(results: Mapping[str, Result]) -> list[str]:
    """What the study was made for, in words with numbers."""
    questions = questions_in(test_part(results[WITH].runs[0]).tobytes())
    gap = min(question.asked - question.stated for question in questions)
    return [
        f"Each statement is at least {gap:,} bytes before its question; guessing a value is right in {CHANCE:.3f} "
        "of the cases."
    ]


def answered(run: Run, *, writes: bool = True, disabled: Collection[str] = (), checkpoint: str = "best") -> float:
    """The share of the test part's questions whose every byte is the most probable one, given all before it.

    The text is read once, in pieces, with the long-term memory of training. With `writes`, what was
    read is consolidated into it every so many pieces. Raises `DataError` for a run that was not trained on an almanac.
    """
    text = test_part(run)
    likeliest = _likeliest(run, text, writes, disabled, checkpoint)
    return fmean(_is_right(question, text, likeliest) for question in questions_in(text.tobytes()))


def _is_right(question: Question, text: np.ndarray, likeliest: np.ndarray) -> bool:
    value = slice(question.asked, question.asked + question.length)
    return bool((text[value] == likeliest[value]).all())


def _likeliest(
    run: Run, text: np.ndarray, writes: bool, disabled: Collection[str], checkpoint: str
) -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
    """The most probable byte at each place; 0 at the first."""
    model, state = run.load_model(checkpoint)
    tokens = torch.from_numpy(text.astype(np.int64))
    found = [torch.zeros(1, dtype=torch.long)]
    with undisturbed(model):
        state = model.between_batches(state, 1)
        for number, piece in enumerate(tokens.split(PIECE), start=1):
            output = model(piece[None], state, disabled)
            found.append(output.logits[0].argmax(dim=-1))
            state = output.state
            if writes and number % CONSOLIDATED == 0:
                state = model.consolidate(state)
    return torch.cat(found)[:-1].numpy().astype(np.uint8)


def test_part(run: Run) -> np.ndarray:
    """The bytes of the test part. Raises `DataError` for a run that was not trained on an almanac, in bytes."""
    data = load_data(run.spec)
    if not isinstance(run.spec.data, TextSpec) or not isinstance(run.spec.data.source, Almanac):
        raise DataError(f"{run.path}: facts far apart need a run that was trained on an almanac")
    assert isinstance(data, TextData)
    if data.byte_counts is not None:
        raise DataError(f"{run.path}: facts far apart need a run that was trained on bytes")
    return data.test[:]


def _row(label: str, result: Result) -> tuple[str, ...]:
    questions = len(questions_in(test_part(result.runs[0]).tobytes()))
    runs: Sequence[Run] = result.runs
    written = mean_and_spread([answered(run) for run in runs])
    if label == WITHOUT:
        return (label, f"{questions}", written, "–", "–")
    frozen = mean_and_spread([answered(run, writes=False) for run in runs])
    off = mean_and_spread([answered(run, disabled=("long_term",)) for run in runs])
    return (label, f"{questions}", written, frozen, off)
