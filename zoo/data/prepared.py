"""Token files as training data, and which of them suit a variant."""

from collections.abc import Callable, Mapping
from pathlib import Path

from cortexzoo.specs.data import PreparedSpec
from cortexzoo.zoo.data.order import Starts
from cortexzoo.zoo.data.text import Part, TextData
from cortexzoo.zoo.data.text_vocabulary import ByteVocabulary, TextVocabulary, TokenizerVocabulary
from cortexzoo.zoo.data.token_files import TOKENIZER, TokenFolder
from cortexzoo.zoo.data.vocabulary_source import require_same
from cortexzoo.zoo.errors import DataError

NAMES: tuple[Part, ...] = ("training", "validation", "test")


def prepared_text(
    spec: PreparedSpec, of_base: Callable[[], TokenizerVocabulary | None] = lambda: None, base_reads_bytes: bool = False
) -> TextData:
    """The text in a folder of `cortexzoo prepare`; nothing but the documents' places is loaded.

    `of_base` gives the tokenizer of the variant's base, None where it has none. Raises `DataError` for a folder that
    cannot be used, and for one in tokens that the base does not read.
    """
    opened = TokenFolder.open(Path(spec.path))
    vocabulary = vocabulary_of(opened)
    require_read_by_base(spec.path, vocabulary, of_base(), base_reads_bytes)
    documents = {name: opened.document_starts(name) for name in NAMES} if spec.documents == "reset" else None
    return text_of(opened, vocabulary, documents)


def text_of(
    opened: TokenFolder, vocabulary: TextVocabulary, documents: Mapping[Part, Starts] | None = None
) -> TextData:
    """The text of an open folder, in its own parts."""
    plain = isinstance(vocabulary, ByteVocabulary)
    parts = opened.about["parts"]
    return TextData(
        opened.tokens("training"),
        opened.tokens("validation"),
        opened.tokens("test"),
        opened.sha256,
        vocabulary,
        None if plain else {name: parts[name]["bytes"] for name in NAMES},
        None if plain else {name: parts[name]["spelled"] for name in NAMES},
        documents,
    )


def require_read_by_base(
    path: str, vocabulary: TextVocabulary, own: TokenizerVocabulary | None, base_reads_bytes: bool
) -> None:
    """Raise `DataError` for a folder in other tokens than the base reads; `own` is the base's tokenizer."""
    if own is not None:
        if not isinstance(vocabulary, TokenizerVocabulary):
            raise DataError(f"{path}: was prepared as bytes, and the base has a tokenizer: prepare it with that one")
        require_same(vocabulary, own, "the base's own tokenizer")
    elif base_reads_bytes and isinstance(vocabulary, TokenizerVocabulary):
        raise DataError(f"{path}: was prepared with a tokenizer, and the base reads bytes: prepare it as bytes")


def vocabulary_of(opened: TokenFolder) -> TextVocabulary:
    """That of a prepared folder. Raises `DataError` where its tokenizer is another than it was written with."""
    if opened.about.get("tokenizer_sha256") is None:
        return ByteVocabulary()
    return TokenizerVocabulary.of_file(opened.folder / TOKENIZER)
