"""Which tokens a task's characters and symbols become: bytes, a base's own tokenizer, or just what the task needs."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from functools import cache
from typing import Protocol

import numpy as np

from cortexzoo.zoo.data.tasks.document import Ints
from cortexzoo.zoo.errors import DataError

ANCHOR = "\n"
"""Stands before a text while it is tokenized: many tokenizers take the beginning of a text for that of a word."""
UNDECODABLE = "\ufffd"


class Vocabulary(ABC):
    """The tokens a task is written in."""

    size: int
    """How many logits a model needs."""
    separator = ""
    """What stands between tokens where they are shown."""

    @abstractmethod
    def spell(self, text: str) -> tuple[int, ...]:
        """The tokens of a text. Raises `DataError` when it cannot be written."""

    @abstractmethod
    def distinct(self, count: int) -> Ints:
        """`count` different tokens, for tasks in which a token is just a symbol. Raises `DataError` for too many."""

    @abstractmethod
    def show(self, tokens: Sequence[int]) -> str:
        """Tokens as a reader may see them."""


class ByteVocabulary(Vocabulary):
    """One token a byte of UTF-8."""

    size = 256

    def spell(self, text: str) -> tuple[int, ...]:
        return tuple(text.encode())

    def distinct(self, count: int) -> Ints:
        return _first(count, self.size, "bytes have")

    def show(self, tokens: Sequence[int]) -> str:
        return bytes(tokens).decode(errors="backslashreplace")


class OwnVocabulary(Vocabulary):
    """Just the characters, or just as many symbols, as a task needs."""

    def __init__(self, characters: str = "", num_symbols: int = 0) -> None:
        self._characters = "".join(sorted(set(characters)))
        self.size = max(len(self._characters), num_symbols)
        self.separator = "" if characters else " "

    def spell(self, text: str) -> tuple[int, ...]:
        unknown = sorted(set(text) - set(self._characters))
        if unknown:
            raise DataError(f"the vocabulary has no {unknown[0]!r}, it has {self._characters!r}")
        return tuple(self._characters.index(character) for character in text)

    def distinct(self, count: int) -> Ints:
        return _first(count, self.size, "the vocabulary has")

    def show(self, tokens: Sequence[int]) -> str:
        if self._characters:
            return "".join(self._characters[token] for token in tokens)
        return self.separator.join(map(str, tokens))


class Tokenizer(Protocol):
    """What is asked of a tokenizer; those of Hugging Face have it."""

    @property
    def all_special_ids(self) -> Collection[int]: ...

    @property
    def unk_token_id(self) -> int | None: ...

    def __len__(self) -> int: ...

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...

    def decode(self, token_ids: list[int]) -> str: ...


class TokenizerVocabulary(Vocabulary):
    """A base's own tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.size = len(tokenizer)
        self._special = frozenset(tokenizer.all_special_ids)
        self._anchor = self._encode(ANCHOR)
        # Bound here, since a cache on the method would keep every tokenizer alive.
        self._spelled = cache(self._spell)

    def spell(self, text: str) -> tuple[int, ...]:
        """What the text adds to a line break before it; where the two merge, what it is on its own."""
        return self._spelled(text)

    def _spell(self, text: str) -> tuple[int, ...]:
        anchored, length = self._encode(ANCHOR + text), len(self._anchor)
        tokens = anchored[length:] if length and anchored[:length] == self._anchor else self._encode(text)
        if not tokens or self._tokenizer.unk_token_id in tokens:
            raise DataError(f"the base's tokenizer has no token for {text!r}, which the task needs: use another base")
        return tokens

    def distinct(self, count: int) -> Ints:
        """The first `count` that are no special tokens and that their own text leads back to."""
        found: list[int] = []
        for token in range(self.size):
            if len(found) == count:
                break
            text = "" if token in self._special else self._tokenizer.decode([token])
            if text and UNDECODABLE not in text and self._encode(ANCHOR + text) == (*self._anchor, token):
                found.append(token)
        if len(found) < count:
            has = f"the base's tokenizer has {len(found)} of use"
            raise DataError(f"the task needs {count} different tokens, {has}: ask for fewer, or use another base")
        return np.array(found, dtype=np.int64)

    def show(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode([int(token) for token in tokens])

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False))


def _first(count: int, size: int, owner: str) -> Ints:
    if count > size:
        raise DataError(f"the task needs {count} different tokens, {owner} {size}: ask for fewer")
    return np.arange(count, dtype=np.int64)


class Alphabet:
    """Characters that may stand for one another, each with its tokens."""

    def __init__(self, characters: str, vocabulary: Vocabulary) -> None:
        self.spellings = [vocabulary.spell(character) for character in characters]
        for index, spelling in enumerate(self.spellings):
            if (first := self.spellings.index(spelling)) < index:
                raise DataError(
                    f"the base's tokenizer writes {characters[first]!r} and {characters[index]!r} alike, "
                    "which the task needs apart: use another base"
                )

    def __len__(self) -> int:
        return len(self.spellings)

    @property
    def longest(self) -> int:
        """Tokens of the character that takes most; 0 without characters."""
        return max(map(len, self.spellings), default=0)

    @property
    def tokens(self) -> set[int]:
        """Every token that occurs in a spelling."""
        return {token for spelling in self.spellings for token in spelling}

    def write(self, indices: Sequence[int] | Ints) -> list[int]:
        """The tokens of the characters at `indices`."""
        return [token for index in indices for token in self.spellings[index]]


def noise_of_characters(characters: str, used: set[int], vocabulary: Vocabulary) -> Ints:
    """Tokens for noise, one for each character, none among the `used`. Raises `DataError` where that cannot be."""
    found = []
    for character in characters:
        spelling = vocabulary.spell(character)
        if len(spelling) != 1 or spelling[0] in used:
            raise DataError(
                f"noise needs a token of its own for {character!r}, and the base's tokenizer has none: use another base"
            )
        found.append(spelling[0])
    return np.array(sorted(set(found)), dtype=np.int64)
