"""From the spec of a vocabulary to its tokens: where the tokenizer is found, or trained and kept."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from cortexzoo.specs.text_vocabulary import BaseTokens, ByteTokens, TextVocabularySpec, TokenizerFile, TrainedBPE
from cortexzoo.zoo.cache import cache_folder
from cortexzoo.zoo.data.text_vocabulary import (
    ByteVocabulary,
    TextVocabulary,
    TokenizerVocabulary,
    pieces_of,
    trained_bpe,
)
from cortexzoo.zoo.errors import DataError

OfBase = Callable[[], TokenizerVocabulary | None]


def text_vocabulary(
    spec: TextVocabularySpec, training: bytes, of_base: OfBase = lambda: None, folder: Path | None = None
) -> TextVocabulary:
    """The vocabulary that `spec` names; `training` is the text that a BPE is trained on.

    `of_base` gives the tokenizer of the variant's base, None where it has none. Relative paths start at `folder`.
    Raises `DataError` for a tokenizer that cannot be read or is not the base's own.
    """
    match spec:
        case ByteTokens():
            if (own := of_base()) is not None:
                raise DataError(
                    f"data.vocabulary.kind must be base, got bytes: the base has a tokenizer of its own, {own.name}"
                )
            return ByteVocabulary()
        case BaseTokens():
            own = of_base()
            if own is None:
                raise DataError("data.vocabulary.kind base: the base has no tokenizer: name its file (kind: file)")
            return own
        case TokenizerFile():
            return _fitting(TokenizerVocabulary.of_file((folder or Path()) / spec.path), of_base())
        case TrainedBPE():
            return _fitting(_trained(spec, training), of_base())


def _fitting(vocabulary: TokenizerVocabulary, own: TokenizerVocabulary | None) -> TokenizerVocabulary:
    if own is not None:
        require_same(vocabulary, own, "the base's own tokenizer")
    return vocabulary


def require_same(vocabulary: TokenizerVocabulary, other: TokenizerVocabulary, what: str) -> None:
    """Raise `DataError` unless the two number their tokens alike."""
    apart = [token for token, number in vocabulary.tokens.items() if other.tokens.get(token) != number]
    if apart or len(vocabulary.tokens) != len(other.tokens):
        first = min(apart, key=vocabulary.tokens.__getitem__) if apart else "its last tokens"
        raise DataError(
            f"{vocabulary.name}: is not {what}: {len(vocabulary.tokens)} tokens and {len(other.tokens)}, "
            f"{max(len(apart), 1)} numbered differently, the first {first!r}: use that tokenizer"
        )


def _trained(spec: TrainedBPE, training: bytes) -> TokenizerVocabulary:
    digest = hashlib.sha256(training).hexdigest()[:16]
    file = cache_folder() / "tokenizers" / f"{spec.hash()}-{digest}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):
        if not file.is_file():
            content = trained_bpe(pieces_of(training), spec.size, spec.min_frequency)
            partial = file.with_suffix(".partial")
            partial.write_text(content, encoding="utf-8")
            os.replace(partial, file)
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise DataError(f"{file}: is damaged: delete it, and it is trained again") from None
    return TokenizerVocabulary.of_file(file)
