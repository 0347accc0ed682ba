"""Mistakes in data: parts that are too short by a token, vocabularies that are too small by one."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from cortexzoo.harness.checking.mistakes.attempt import Attempt, fits, mistaken
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.witness import data_of
from cortexzoo.specs.data import TextFiles
from cortexzoo.specs.task import TaskSpec, TokenPairs
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.data.text import Part, TextData
from cortexzoo.zoo.data.text_vocabulary import TokenizerVocabulary, trained_bpe

LENGTH, LARGEST = 8, 50
NAMES: tuple[Part, ...] = ("training", "validation", "test")
SENTENCE = "what a model reads, a model may find again. " * 40
SIZE = 270
"""Tokens of a small vocabulary."""


def of_data(subject: Subject) -> Iterator[Attempt]:
    """Of texts, mixtures and tokenizers that are just large enough, and of the subject's own task."""
    yield from _lengths()
    yield from _tokens()
    yield Attempt("data of one sum", _sums, True)
    if isinstance(data := data_of(subject.experiment), TaskData):
        needed = data.task.vocabulary.size
        yield fits("a model of as many tokens as a task", partial(data.require, needed))
        yield mistaken("a model of a token less than a task", partial(data.require, needed - 1))
        if data.text is not None:
            parts = (data.held_out_tokens(), data.training_tokens())
            shortest = min(len(part) for part in parts if part is not None)
            yield fits("a text to guard with of one window", partial(data.require_text, shortest - 1))
            yield mistaken("a text to guard with of less", partial(data.require_text, shortest))


def _sums() -> None:
    """Raises where the sum does not tell data apart, by which a run is not continued on other data."""
    content = SENTENCE.encode()
    texts = [content, content[:-1] + b"!", b"!" + content[1:], content + b"!"]
    plain = TaskSpec.model_validate({"name": "pairs", "task": TokenPairs(), "gaps": (1, 4)})
    own, more = plain.model_copy(update={"vocabulary": "own"}), plain.model_copy(update={"evaluation_documents": 7})
    vocabulary = TokenizerVocabulary(trained_bpe([SENTENCE], SIZE, 2), "of the harness")
    with tempfile.TemporaryDirectory() as folder:

        def of(spec: TaskSpec, seed: int, text: bytes) -> str:
            (Path(folder) / "text").write_bytes(text)
            return TaskData.from_spec(spec, seed, TextFiles(paths=("text",)), folder=Path(folder)).sha256

        tasks = [of(plain, 0, text) for text in texts] + [
            of(plain, 1, content),
            of(own, 0, content),
            of(more, 0, content),
        ]
        named = of(plain.model_copy(update={"name": "others", "description": "the same"}), 0, content)
    whole = [TextData.from_bytes(text, 0.2, 0.1).sha256 for text in texts]
    spelled = [TextData.from_parts((text, text, text), vocabulary).sha256 for text in texts]
    tokens = [TextData.from_tokens(vocabulary.encode(text), 0.2, vocabulary).sha256 for text in texts]
    for what, sums in {"tasks": tasks, "texts": whole, "texts in tokens": spelled, "tokens": tokens}.items():
        if len(set(sums)) < len(sums):
            raise RuntimeError(f"{what} that differ have one sum")
    if named != tasks[0]:
        raise RuntimeError("a task of another name has another sum")


def _text(lengths: tuple[int, ...], largest: int = 0) -> TextData:
    """Parts of so many tokens; the last token of part `largest` is the largest one."""
    parts = [np.arange(length, dtype=np.uint8) for length in lengths]
    if len(parts[largest]):
        parts[largest][-1] = LARGEST
    return TextData(parts[0], parts[1], parts[2], "a text of the harness")


def _lengths() -> Iterator[Attempt]:
    enough = LENGTH + 1
    yield fits("a window in each part", partial(_text((enough,) * 3).require, LENGTH, LARGEST + 1))
    yield fits("a text without a test part", partial(_text((enough, enough, 0)).require, LENGTH, LARGEST + 1))
    for place, name in enumerate(NAMES):
        lengths = tuple(enough - (part == place) for part in range(3))
        yield mistaken(f"a {name} part without its last target", partial(_text(lengths).require, LENGTH, LARGEST + 1))
        starts = dict.fromkeys(NAMES, np.array([0, enough]))
        twice = replace(_text((2 * enough,) * 3), documents=starts, weights=(0.5, 0.5))
        yield fits("a window of each text in each part", partial(twice.require, LENGTH, LARGEST + 1))
        for at in (enough - 1, enough + 1):
            uneven = replace(twice, documents={**starts, name: np.array([0, at])})
            what = f"a mixture whose {'second' if at > enough else 'first'} text has no window in its {name} part"
            yield mistaken(what, partial(uneven.require, LENGTH, LARGEST + 1))


def _tokens() -> Iterator[Attempt]:
    lengths = (LENGTH + 1,) * 3
    for place, name in enumerate(NAMES):
        text = _text(lengths, place)
        yield fits(f"a logit for the largest token of the {name} part", partial(text.require, LENGTH, LARGEST + 1))
        yield mistaken(f"no logit for the largest token of the {name} part", partial(text.require, LENGTH, LARGEST))
    vocabulary = TokenizerVocabulary(trained_bpe([SENTENCE], SIZE, 2), "of the harness")
    spelled = TextData.from_parts((SENTENCE.encode(),) * 3, vocabulary)
    needed = max(vocabulary.tokens.values()) + 1
    yield fits("as many logits as a tokenizer has tokens", partial(spelled.require, LENGTH, needed))
    yield mistaken("a logit less than a tokenizer has tokens", partial(spelled.require, LENGTH, needed - 1))
