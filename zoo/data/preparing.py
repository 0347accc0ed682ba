"""From files of any size to token files: each document is read once, in pieces, and never kept."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from cortexzoo.zoo.data.documents import HUB, documents
from cortexzoo.zoo.data.sources import find_files
from cortexzoo.zoo.data.text_vocabulary import ByteVocabulary, TextVocabulary, TokenizerVocabulary, trained_bpe
from cortexzoo.zoo.data.token_files import remove_tokens, token_writer
from cortexzoo.zoo.errors import DataError

LEARNED = 1 << 24
"""Bytes that a BPE is trained on, from the beginning of the corpus."""


@dataclass(frozen=True)
class Corpus:
    """What is to be prepared."""

    sources: tuple[str, ...]
    """Files, globs, or `hf:NAME[:SPLIT]`."""
    field: str = "text"
    separator: bytes = b"\n"
    """Ends each document."""
    validation_fraction: float = 0.1
    test_fraction: float = 0.1
    skip_bad: bool = False
    """Rows that cannot be used are passed over."""

    def named(self) -> list[str]:
        """Every file. Raises `DataError` for a path that names none."""
        found: list[str] = []
        for source in self.sources:
            found += [source] if source.startswith(HUB) else [str(path) for path in find_files((source,))]
        return found


def prepare(
    corpus: Corpus,
    folder: Path,
    tokenizer: Path | None = None,
    bpe_size: int | None = None,
    watch: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Write the tokens of `corpus` to `folder`: bytes, those of a `tokenizer` file, or of a BPE trained on it.

    A BPE learns from the beginning of the training part alone. Where that part ends is known once the corpus is in
    tokens: if that is within what was learned, it is trained and written again, on less. `watch` gets the number of
    bytes read so far. Returns the manifest, with the number of `skipped` rows. Raises `DataError`; then there is no
    manifest, and the folder is no prepared text.
    """
    if bpe_size is None:
        vocabulary = ByteVocabulary() if tokenizer is None else TokenizerVocabulary.of_file(tokenizer)
        return _written(corpus, folder, vocabulary, watch)
    most = LEARNED
    while True:
        text, learned = _beginning(corpus, most)
        trained = TokenizerVocabulary(trained_bpe([text], bpe_size, 2), "the trained BPE")
        about = _written(corpus, folder, trained, watch)
        training = int(about["parts"]["training"]["bytes"])
        if learned <= training:
            return about
        most = min(training, learned * 9 // 10)
        remove_tokens(folder)


def _written(corpus: Corpus, folder: Path, vocabulary: TextVocabulary, watch: Callable[[int], None]) -> dict[str, Any]:
    names, skipped = corpus.named(), [0]

    def note(_: str) -> None:
        skipped[0] += 1

    with token_writer(folder, vocabulary) as writer:
        for document in _documents(corpus, names, note):
            writer.begin_document()
            for piece in document:
                writer.add(piece)
                watch(writer.length)
            writer.add(corpus.separator)
        if writer.count < 3:
            raise DataError(f"{', '.join(names)}: has no text in it: at least three tokens are needed")
        fractions = (corpus.validation_fraction, corpus.test_fraction)
        return {**writer.finish(fractions, [Path(name).name for name in names]), "skipped": skipped[0]}


def _documents(
    corpus: Corpus, names: Sequence[str], note: Callable[[str], None] = lambda _: None
) -> Iterator[Iterator[bytes]]:
    """Those of all files; `note` gets why a row is passed over."""
    return chain.from_iterable(documents(name, corpus.field, note if corpus.skip_bad else None) for name in names)


def _beginning(corpus: Corpus, most: int) -> tuple[str, int]:
    """The beginning of the corpus, and its length in bytes: the training part's share of all, `most` at most."""
    training = 1 - corpus.validation_fraction - corpus.test_fraction
    found: list[bytes] = []
    length = 0
    every = (chain(document, [corpus.separator]) for document in _documents(corpus, corpus.named()))
    for piece in chain.from_iterable(every):
        found.append(piece)
        length += len(piece)
        if length * training > most:
            break
    learned = int(min(length * training, most))
    return b"".join(found)[:learned].decode(errors="ignore"), learned
