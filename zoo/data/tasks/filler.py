"""What fills a document beside its passages, any stretch of it made when it is asked for: facts never asked for."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cortexzoo.zoo.data.tasks.document import Ints, hashed

FIELDS = 16
"""Draws that one pair may have."""


@dataclass(frozen=True)
class TokenPairFiller:
    """Key, value, key, value …: keys that the document does not bind."""

    keys: Ints = field(repr=False)
    values: Ints = field(repr=False)
    key: int

    def between(self, begin: int, end: int) -> Ints:
        """The tokens at places begin … end - 1."""
        pair, place = _pairs(begin, end, self.key, 2)
        keys = self.keys[_drawn(pair, 0, len(self.keys))]
        return np.where(place == 0, keys, self.values[_drawn(pair, 1, len(self.values))])


@dataclass(frozen=True)
class SpelledPairFiller:
    """`abc=wxyz;` again and again: keys that the document does not bind, near ones that share all letters but one."""

    bound: Ints
    """The document's own keys as numbers, the first letter the lowest digit."""
    letters: Ints = field(repr=False)
    """The token of each letter."""
    marks: tuple[int, int]
    """Between key and value, and behind a value."""
    key_length: int
    value_length: int
    near: bool
    key: int

    def between(self, begin: int, end: int) -> Ints:
        """The tokens at places begin … end - 1."""
        length = self.key_length + self.value_length + 2
        pair, place = _pairs(begin, end, self.key, length)
        codes, base = self._keys(pair), len(self.letters)
        of_key = codes // base ** np.minimum(place, self.key_length - 1) % base
        of_value = hashed((pair * FIELDS + 2).astype(np.uint64) * np.uint64(64) + place.astype(np.uint64))
        letter = np.where(place < self.key_length, of_key, (of_value % np.uint64(base)).astype(np.int64))
        tokens = self.letters[letter]
        tokens = np.where(place == self.key_length, self.marks[0], tokens)
        return np.where(place == length - 1, self.marks[1], tokens)

    def _keys(self, pair: Ints) -> Ints:
        base = len(self.letters)
        if not self.near:
            codes = _drawn(pair, 0, base**self.key_length - len(self.bound))
            for taken in np.sort(self.bound):
                codes = codes + (codes >= taken)
            return codes
        own = self.bound[_drawn(pair, 0, len(self.bound))]
        last = base ** (self.key_length - 1)
        step, codes = 1 + _drawn(pair, 1, base - 1), own
        for _ in range(base):
            codes = own % last + (own // last + step) % base * last
            step = step + np.isin(codes, self.bound)
        return codes


def near_tokens(bound: Ints, count: int) -> Ints:
    """Of `count` keys, by number: the one behind each bound key, round the end, that is not bound itself."""
    free = np.setdiff1d(np.arange(count), bound)
    places = np.searchsorted(free, bound) % len(free)
    return np.unique(free[places])


def _pairs(begin: int, end: int, key: int, length: int) -> tuple[Ints, Ints]:
    """At each place: which pair, and which token of it. A document begins at any token of a pair."""
    places = np.arange(begin, end, dtype=np.int64) + key % 2**40
    return places // length, places % length


def _drawn(pair: Ints, draw: int, count: int) -> Ints:
    """One of `count` numbers for each pair."""
    mixed: npt.NDArray[np.uint64] = hashed((pair * FIELDS + draw).astype(np.uint64))
    return (mixed % np.uint64(count)).astype(np.int64)
