"""What text and tokens are to each other: bytes, or a tokenizer. Imports the library tokenizers, alone."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cortexzoo.zoo.errors import DataError

TokenArray: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]
Lengths: TypeAlias = npt.NDArray[np.int64]

PIECE = 1 << 20
"""Bytes that a tokenizer reads at once: it needs a hundred times as many while it works."""
SPACE = "\u2581"
"""Stands for a blank in the tokens of SentencePiece."""


class TextVocabulary(ABC):
    """How a text is read in tokens, and which bytes each token stands for."""

    size: int
    """How many logits a model needs."""
    unit: str
    """What a token is called."""
    sha256: str | None = None
    """Of the tokenizer; None: a token is a byte."""

    @abstractmethod
    def encode(self, text: bytes) -> TokenArray:
        """The tokens of UTF-8 text. Raises `DataError` for a text that has none."""

    @abstractmethod
    def bytes_of(self, tokens: TokenArray) -> npt.NDArray[np.uint8]:
        """The bytes that the tokens stand for, special tokens for none."""

    @property
    @abstractmethod
    def lengths(self) -> Lengths:
        """[size] the number of bytes that each token stands for."""

    @property
    def needed(self) -> int:
        """Logits that a text can need: special tokens, which none contains, may have greater numbers."""
        return int(np.flatnonzero(self.lengths)[-1]) + 1

    def file_content(self) -> str | None:
        """The text of a `tokenizer.json`; None: a token is a byte."""
        return None


class ByteVocabulary(TextVocabulary):
    """One token a byte."""

    size = 256
    unit = "byte"

    def encode(self, text: bytes) -> TokenArray:
        return np.frombuffer(text, dtype=np.uint8)

    def bytes_of(self, tokens: TokenArray) -> npt.NDArray[np.uint8]:
        return np.asarray(tokens, dtype=np.uint8)

    @property
    def lengths(self) -> Lengths:
        return np.ones(self.size, dtype=np.int64)


class TokenizerVocabulary(TextVocabulary):
    """A tokenizer as `tokenizer.json` describes it; its special tokens stand for no bytes and are never added."""

    unit = "token"

    def __init__(self, content: str, name: str) -> None:
        """Raises `DataError`, with `name` in front, for text that is no tokenizer."""
        from tokenizers import Tokenizer

        try:
            self._tokenizer: Any = Tokenizer.from_str(content)
        except Exception as error:  # the library raises nothing more special
            raise DataError(f"{name}: is no tokenizer.json: {' '.join(str(error).split())[:120]}") from None
        # A file may request cut or padded texts; a corpus is read whole.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.name = name
        self.tokens: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        self.size = max(self.tokens.values()) + 1
        self._content = self._tokenizer.to_str()
        self.sha256 = hashlib.sha256(self._content.encode()).hexdigest()

    @classmethod
    def of_file(cls, path: Path) -> "TokenizerVocabulary":
        """Raises `DataError` when the file cannot be read."""
        try:
            return cls(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None

    def file_content(self) -> str:
        return self._content

    def encode(self, text: bytes) -> TokenArray:
        """As the tokenizer reads the whole text, or pieces of about 1 MB that end with a line where it is longer."""
        dtype = np.uint16 if self.size <= 1 << 16 else np.uint32
        found = [self._encoded(piece.decode()) for piece in _pieces(text)]
        return np.concatenate([np.array(ids, dtype=dtype) for ids in found] or [np.zeros(0, dtype)])

    def _encoded(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids
        if self._unknown is not None and self._unknown in ids:
            found = self._tokenizer.encode(text, add_special_tokens=False)
            first, last = found.offsets[found.ids.index(self._unknown)]
            unknown = f"{self.name}: has no token for {text[first:last][:20]!r}"
            if first == 0 or last == len(text):
                unknown += ", where the text is cut into its parts, which may be within a word"
            raise DataError(f"{unknown}: use a tokenizer that covers it")
        return ids

    def decode(self, ids: list[int]) -> str:
        """The text of tokens; what is no UTF-8 shows as �."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))

    def bytes_of(self, tokens: TokenArray) -> npt.NDArray[np.uint8]:
        counts = self.lengths[tokens]
        ends = np.cumsum(counts)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
        spelled: npt.NDArray[np.uint8] = self._buffer[np.repeat(self._starts[tokens], counts) + within]
        return spelled

    @cached_property
    def lengths(self) -> Lengths:
        return np.array([len(spelled) for spelled in self._spelled], dtype=np.int64)

    @cached_property
    def _buffer(self) -> npt.NDArray[np.uint8]:
        return np.frombuffer(b"".join(self._spelled), dtype=np.uint8)

    @cached_property
    def _starts(self) -> Lengths:
        return np.cumsum(self.lengths) - self.lengths

    @cached_property
    def _unknown(self) -> int | None:
        """The token of what has none: some models name it, Unigram numbers it."""
        model = self._described["model"]
        number: int | None = model.get("unk_id")
        return self.tokens.get(model.get("unk_token") or "") if number is None else number

    @cached_property
    def _described(self) -> Any:
        return json.loads(self._content)

    @cached_property
    def _spelled(self) -> list[bytes]:
        """The bytes of each token, by its number."""
        added = {token["id"]: token for token in self._described["added_tokens"]}
        decoder = json.dumps(self._described["decoder"])
        of_bytes = '"ByteLevel"' in decoder
        pieces = SPACE in json.dumps(self._described["decoder"], ensure_ascii=False) or '"ByteFallback"' in decoder
        found = [b""] * self.size
        for token, number in self.tokens.items():
            if number in added:
                found[number] = b"" if added[number]["special"] else token.encode()
            elif of_bytes:
                found[number] = bytes(BYTE_OF[character] for character in token if character in BYTE_OF)
            elif pieces:
                found[number] = _of_sentence_piece(token)
            else:
                found[number] = self._tokenizer.decode([number]).encode()
        return found


def _of_sentence_piece(token: str) -> bytes:
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return bytes([int(token[3:5], 16)])
    return token.replace(SPACE, " ").encode()


def _byte_of() -> dict[str, int]:
    """The printable characters that byte-level tokenizers write bytes as: themselves, or 256 and above in order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


BYTE_OF = _byte_of()


def _pieces(text: bytes) -> Iterator[bytes]:
    """Pieces that end with the last line break in a megabyte, or where a character ends."""
    begin = 0
    while begin < len(text):
        end = min(begin + PIECE, len(text))
        if end < len(text):
            line = text.rfind(b"\n", begin, end) + 1
            end = line if line > begin else character_start(text, end)
        yield text[begin:end]
        begin = end


def character_start(text: bytes, place: int) -> int:
    """The next place at or after `place` where a character of UTF-8 begins."""
    while place < len(text) and text[place] & 0xC0 == 0x80:
        place += 1
    return place


def trained_bpe(texts: Iterable[str], size: int, min_frequency: int) -> str:
    """The `tokenizer.json` of byte-level BPE trained on `texts`: `size` tokens at most, without special ones."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return str(tokenizer.to_str())


def pieces_of(text: bytes) -> Iterator[str]:
    """A text in pieces that a tokenizer learns from."""
    return (piece.decode() for piece in _pieces(text))
