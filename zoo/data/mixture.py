"""Several texts as one: their parts one after the other, each left where it is."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cortexzoo.specs.data import MixtureSpec, PreparedPart, TextPart
from cortexzoo.specs.text_vocabulary import TrainedBPE
from cortexzoo.zoo.data.prepared import NAMES, require_read_by_base, text_of, vocabulary_of
from cortexzoo.zoo.data.sources import read_source
from cortexzoo.zoo.data.text import Part, PartTokens, TextData, cuts
from cortexzoo.zoo.data.text_vocabulary import TextVocabulary, TokenArray, character_start
from cortexzoo.zoo.data.token_files import StoredTokens, TokenFolder
from cortexzoo.zoo.data.vocabulary_source import OfBase, text_vocabulary
from cortexzoo.zoo.errors import DataError


class ChainedTokens(StoredTokens):
    """Tokens of several texts, one after the other."""

    def __init__(self, texts: Sequence[PartTokens]) -> None:
        self.texts = tuple(texts)
        self.begins = np.cumsum([0, *(len(text) for text in self.texts)])
        self.largest = max((_largest(text) for text in self.texts if len(text)), default=0)
        self.dtype = np.min_scalar_type(self.largest)

    def __len__(self) -> int:
        return int(self.begins[-1])

    def __getitem__(self, places: Any) -> TokenArray:
        if isinstance(places, slice):
            begin, end, _ = places.indices(len(self))
            pieces = [
                text[max(begin - at, 0) : end - at]
                for text, at in zip(self.texts, self.begins.tolist(), strict=False)
                if at < end and begin < at + len(text)
            ]
            return np.concatenate([np.zeros(0, self.dtype), *pieces]).astype(self.dtype)
        which = np.searchsorted(self.begins, places, side="right") - 1
        found: TokenArray = np.zeros(np.shape(places), self.dtype)
        for index in np.unique(which).tolist():
            chosen = which == index
            found[chosen] = self.texts[index][places[chosen] - self.begins[index]]
        return found


def mixed_text(spec: MixtureSpec, of_base: OfBase = lambda: None, base_reads_bytes: bool = False) -> TextData:
    """The texts of a mixture. `of_base`, `base_reads_bytes`: as for `prepared_text`.

    Raises `DataError` for a part that cannot be read, is empty, or is in other tokens than the others, and for what the
    base does not read.
    """
    contents = {
        index: _split(index, read_source(part.source), spec)
        for index, part in enumerate(spec.parts)
        if isinstance(part, TextPart)
    }
    vocabulary = _vocabulary(spec, b"".join(parts[0] for parts in contents.values()), of_base)
    texts = [
        _prepared(index, part, vocabulary, of_base, base_reads_bytes)
        if isinstance(part, PreparedPart)
        else TextData.from_parts(contents[index], vocabulary)
        for index, part in enumerate(spec.parts)
    ]
    return TextData(
        _joined([text.train for text in texts]),
        _joined([text.validation for text in texts]),
        _joined([text.test for text in texts]),
        hashlib.sha256("".join(text.sha256 for text in texts).encode()).hexdigest(),
        vocabulary,
        _counted(texts, [text.byte_counts for text in texts]),
        _counted(texts, [text.spelled for text in texts]),
        {name: np.cumsum([0, *(len(text.part(name)) for text in texts[:-1])]) for name in NAMES},
        tuple(part.weight for part in spec.parts),
    )


def _vocabulary(spec: MixtureSpec, training: bytes, of_base: OfBase) -> TextVocabulary:
    if isinstance(spec.vocabulary, TrainedBPE) and not training:
        raise DataError("data.vocabulary.kind bpe: no part is a text to train it on: name the tokenizer (kind: file)")
    return text_vocabulary(spec.vocabulary, training, of_base)


def _split(index: int, content: bytes, spec: MixtureSpec) -> tuple[bytes, bytes, bytes]:
    if not content.strip():
        raise DataError(f"data.parts.{index}: its text is empty: leave it out")
    first, second = (
        character_start(content, place) for place in cuts(len(content), spec.validation_fraction, spec.test_fraction)
    )
    return content[:first], content[first:second], content[second:]


def _prepared(
    index: int, part: PreparedPart, vocabulary: TextVocabulary, of_base: OfBase, base_reads_bytes: bool
) -> TextData:
    opened = TokenFolder.open(Path(part.path))
    own = vocabulary_of(opened)
    require_read_by_base(part.path, own, of_base(), base_reads_bytes)
    if own.sha256 != vocabulary.sha256:
        wanted = "as bytes" if vocabulary.sha256 is None else "with the tokenizer of data.vocabulary"
        raise DataError(
            f"data.parts.{index}: {part.path} was prepared {_words(own)}, and the mixture is in {_unit(vocabulary)}: "
            f"prepare it {wanted}, or set data.vocabulary"
        )
    return text_of(opened, own)


def _words(vocabulary: TextVocabulary) -> str:
    return "as bytes" if vocabulary.sha256 is None else "with another tokenizer"


def _unit(vocabulary: TextVocabulary) -> str:
    return "bytes" if vocabulary.sha256 is None else "tokens"


def _counted(texts: Sequence[TextData], counts: Sequence[Mapping[Part, int] | None]) -> dict[Part, int] | None:
    """Bytes of each part, of all texts: as counted, or those of its tokens. None: a token is a byte."""
    if texts[0].vocabulary.sha256 is None:
        return None

    def of_part(text: TextData, counted: Mapping[Part, int] | None, name: Part) -> int:
        if counted is not None:
            return counted[name]
        return int(np.bincount(text.part(name)[:], minlength=text.vocabulary.size) @ text.vocabulary.lengths)

    pairs = list(zip(texts, counts, strict=True))
    return {name: sum(of_part(text, counted, name) for text, counted in pairs) for name in NAMES}


def _joined(texts: Sequence[PartTokens]) -> PartTokens:
    arrays = [text for text in texts if isinstance(text, np.ndarray)]
    return np.concatenate(arrays) if len(arrays) == len(texts) else ChainedTokens(texts)


def _largest(tokens: PartTokens) -> int:
    return tokens.largest if isinstance(tokens, StoredTokens) else int(tokens.max())
