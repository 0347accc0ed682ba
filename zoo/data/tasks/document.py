"""One example of a task: passages in a sea of noise, any stretch of which is made when it is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int64]

BLANK = -1
"""A place of a passage that noise fills."""


class Filler(Protocol):
    """Tokens that depend on nothing but the document and the place."""

    def between(self, begin: int, end: int) -> Ints:
        """The tokens at places begin … end - 1."""


@dataclass(frozen=True)
class Noise:
    """Tokens that depend on nothing but the key and the place, so that a long gap never lies in memory as a whole."""

    tokens: Ints = field(repr=False)
    key: int
    in_order: bool = False
    """The tokens one after another, again and again, as a text that repeats; otherwise each place draws one."""

    def between(self, begin: int, end: int) -> Ints:
        """The noise at places begin … end - 1."""
        places = np.arange(begin, end, dtype=np.uint64) + np.uint64(self.key)
        drawn = places if self.in_order else hashed(places)
        return self.tokens[(drawn % np.uint64(len(self.tokens))).astype(np.int64)]


def hashed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """A hash that makes consecutive numbers look independent; changes `numbers`.

    z = n · 0x9E3779B97F4A7C15; z = (z ^ z >> 30) · 0xBF58476D1CE4E5B9; z = (z ^ z >> 27) · 0x94D049BB133111EB;
    z ^ z >> 31, all modulo 2^64. Source: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators".
    """
    numbers *= np.uint64(0x9E3779B97F4A7C15)
    numbers ^= numbers >> np.uint64(30)
    numbers *= np.uint64(0xBF58476D1CE4E5B9)
    numbers ^= numbers >> np.uint64(27)
    numbers *= np.uint64(0x94D049BB133111EB)
    numbers ^= numbers >> np.uint64(31)
    return numbers


@dataclass(frozen=True)
class Passage:
    """A stretch of tokens that is not all noise."""

    tokens: Ints
    """`BLANK` where noise is to show through."""
    answers: Ints
    """The number, from 1, of the answer that each token belongs to; 0 where it belongs to none."""

    def __len__(self) -> int:
        return len(self.tokens)


class PassageWriter:
    """Writes a passage from left to right and numbers its answers."""

    def __init__(self) -> None:
        self._tokens: list[int] = []
        self._answers: list[int] = []
        self._num_answers = 0

    def write(self, tokens: Sequence[int]) -> int:
        """Append tokens that are given. Returns the place of the last token so far."""
        self._tokens.extend(tokens)
        self._answers.extend([0] * len(tokens))
        return len(self._tokens) - 1

    def answer(self, tokens: Sequence[int]) -> None:
        """Append the tokens of the next answer."""
        self._num_answers += 1
        self._tokens.extend(tokens)
        self._answers.extend([self._num_answers] * len(tokens))

    def passage(self) -> Passage:
        """What has been written."""
        return Passage(np.array(self._tokens, dtype=np.int64), np.array(self._answers, dtype=np.int64))


@dataclass(frozen=True)
class Document:
    """One example. It has `length` tokens to read and one more, which is nothing but the last one's target."""

    length: int
    placed: tuple[tuple[int, Passage], ...]
    """Passages with the places where they begin."""
    noise: Filler
    distances: Ints
    """For each answer: how many tokens lie from the last one of the facts that it follows from to its first one."""
    slices: Mapping[str, Ints]
    """What the accuracy is broken down by: for each name one value an answer."""

    @property
    def tokens(self) -> Ints:
        """All `length + 1` tokens."""
        return self.cut(0, self.length + 1)[0]

    @property
    def answers(self) -> Ints:
        """For each of the `length + 1` tokens the number, from 1, of the answer that it belongs to; 0: none."""
        return self.cut(0, self.length + 1)[1]

    def cut(self, begin: int, end: int) -> tuple[Ints, Ints]:
        """Tokens and answers at places begin … end - 1, in memory for just those."""
        tokens = self.noise.between(begin, end)
        answers = np.zeros(end - begin, dtype=np.int64)
        for start, passage in self.placed:
            first, last = max(begin, start), min(end, start + len(passage))
            if first < last:
                piece = passage.tokens[first - start : last - start]
                np.copyto(tokens[first - begin : last - begin], piece, where=piece != BLANK)
                answers[first - begin : last - begin] = passage.answers[first - start : last - start]
        return tokens, answers
