"""Mistakes in how a text is read: tokens that its base does not have, and tokenizers that are kept for another text."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from cortexzoo.harness.checking.mistakes.attempt import Attempt, fits, mistaken
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.specs.data import MixtureSpec, TextFiles, TextPart, TextSpec
from cortexzoo.specs.text_vocabulary import BaseTokens, ByteTokens, TextVocabularySpec, TokenizerFile, TrainedBPE
from cortexzoo.zoo.cache import CACHE_VARIABLE
from cortexzoo.zoo.data.mixture import mixed_text
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.data.text_vocabulary import TokenizerVocabulary, trained_bpe

SIZE, FREQUENCY = 270, 2
HALF: dict[str, Any] = {"name": "text-of-the-harness", "validation_fraction": 0.25, "test_fraction": 0.25}
TEXTS = tuple(
    sentence.encode() * 40
    for sentence in ("what a model reads, a model may find again. ", "other letters, of which other pairs are merged. ")
)
FILE = "tokenizer.json"


def of_vocabularies(_: Subject) -> Iterator[Attempt]:
    """Of texts for a base with a tokenizer and for one without, and of tokenizers that are trained and kept."""
    read: Mapping[str, tuple[Callable[..., TextData], int]] = {"a text": (_text, 1), "a mixture": (_mixture, 2)}
    another = _vocabulary(TEXTS[1])
    for what, (data, copies) in read.items():
        own, larger = (_vocabulary(_training_part(TEXTS[0]) * copies, SIZE + more) for more in (0, 1))
        of_file, trained = TokenizerFile(path=FILE), TrainedBPE(size=SIZE, min_frequency=FREQUENCY)
        vocabularies: tuple[tuple[str, TextVocabularySpec, bool, bool], ...] = (
            ("bytes", ByteTokens(), True, False),
            ("the base's tokens", BaseTokens(), False, True),
            ("tokens of a file", of_file, True, True),
            ("tokens that are trained", trained, True, True),
        )
        for tokens, vocabulary, without_base, with_base in vocabularies:
            act = partial(_in_tokens, data, vocabulary, own)
            yield Attempt(f"{what} in {tokens}, for a base without a tokenizer", partial(act, None), without_base)
            yield Attempt(f"{what} in {tokens}, for a base with this one", partial(act, own), with_base)
            if vocabulary in (of_file, trained):
                yield mistaken(f"{what} in {tokens}, for a base with another", partial(act, another))
                yield mistaken(f"{what} in {tokens}, for a base with a token more", partial(act, larger))
        yield mistaken(f"{what} in tokens of no file", partial(_in_tokens, data, TokenizerFile(path="none"), own, None))
    yield fits("tokenizers of two texts, trained once and kept", _kept)
    yield mistaken("a kept tokenizer that is damaged", _damaged)


def _text(source: TextFiles, vocabulary: TextVocabularySpec, folder: Path, of_base: Any) -> TextData:
    return TextData.from_spec(TextSpec(source=source, vocabulary=vocabulary, **HALF), folder, of_base)


def _mixture(source: TextFiles, vocabulary: TextVocabularySpec, folder: Path, of_base: Any) -> TextData:
    """Twice the same text; paths of a mixture are no longer relative."""
    if isinstance(vocabulary, TokenizerFile):
        vocabulary = TokenizerFile(path=str(folder / vocabulary.path))
    parts = (TextPart(weight=1.0, source=source),) * 2
    return mixed_text(MixtureSpec(parts=parts, vocabulary=vocabulary, **HALF), of_base)


def _in_tokens(
    data: Callable[..., TextData],
    vocabulary: TextVocabularySpec,
    of_file: TokenizerVocabulary,
    of_base: TokenizerVocabulary | None,
) -> None:
    with _empty_cache() as folder:
        (folder / FILE).write_text(of_file.file_content(), encoding="utf-8")
        _read(data, folder, TEXTS[0], vocabulary, of_base)


def _read(
    data: Callable[..., TextData],
    folder: Path,
    content: bytes,
    vocabulary: TextVocabularySpec,
    of_base: TokenizerVocabulary | None = None,
) -> TextData:
    (folder / "text.txt").write_bytes(content)
    return data(TextFiles(paths=(str(folder / "text.txt"),)), vocabulary, folder, lambda: of_base)


def _training_part(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _vocabulary(content: bytes, size: int = SIZE) -> TokenizerVocabulary:
    return TokenizerVocabulary(trained_bpe([content.decode()], size, FREQUENCY), "of the harness")


def _kept() -> None:
    """Each text's tokenizer is that of its own training part, from whatever is kept, and another size is another."""
    spec = TrainedBPE(size=SIZE, min_frequency=FREQUENCY)
    with _empty_cache() as folder:
        for round_of in ("trained", "kept"):
            for content in (*TEXTS, TEXTS[0][:-1]):
                found = _read(_text, folder, content, spec).vocabulary
                if _tokens(found) != _vocabulary(_training_part(content)).tokens:
                    raise ValueError(f"a tokenizer that was {round_of} is not of its text")
        smaller = _read(_text, folder, TEXTS[0], TrainedBPE(size=SIZE - 1, min_frequency=FREQUENCY)).vocabulary
        if len(_tokens(smaller)) != SIZE - 1:
            raise ValueError("a smaller tokenizer is not trained")


def _tokens(vocabulary: object) -> dict[str, int]:
    assert isinstance(vocabulary, TokenizerVocabulary)
    return vocabulary.tokens


def _damaged() -> None:
    spec = TrainedBPE(size=SIZE, min_frequency=FREQUENCY)
    with _empty_cache() as folder:
        _read(_text, folder, TEXTS[0], spec)
        for file in [path for path in (folder / "cache").rglob("*.json") if path.is_file()]:
            file.write_bytes(file.read_bytes()[:-9])
        _read(_text, folder, TEXTS[0], spec)


@contextmanager
def _empty_cache() -> Iterator[Path]:
    """A folder, and in it a cache that is not there yet."""
    before = os.environ.get(CACHE_VARIABLE)
    with tempfile.TemporaryDirectory() as name:
        os.environ[CACHE_VARIABLE] = str(Path(name) / "cache")
        try:
            yield Path(name)
        finally:
            if before is None:
                del os.environ[CACHE_VARIABLE]
            else:
                os.environ[CACHE_VARIABLE] = before
