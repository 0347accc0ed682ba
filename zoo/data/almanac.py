"""An almanac: facts about invented people, stated once and asked for thousands of bytes later.

Each volume states its facts, then others that are not asked for, then repeats the first ones in another order. A
question is the line of its statement again, so only who remembers the statement can predict its value: people, and what
is true of them, are drawn anew for every volume.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cortexzoo.specs.data import Almanac

ATTRIBUTES = {
    "trade": "actor baker cooper dyer engraver farmer glazier hatter innkeeper joiner knitter lawyer mason nurse "
    "potter quarrier",
    "home": "Arden Bexhill Corby Dover Epsom Filey Goole Hythe Ilkley Jarrow Kendal Leeds Morpeth Newark Oundle Poole",
    "pet": "ape bear cat dog eel fox goat hare ibis jackal kite lynx mole newt owl pike",
    "crest": "anchor bell crown drum elm flame gate harp iris jewel key lamp moon nail oak plough",
}
"""Attributes and their values; the values of one attribute begin with different letters."""
VALUES = {name: tuple(words.split()) for name, words in ATTRIBUTES.items()}
CHANCE = 1 / 16
"""Of naming the value of an attribute without knowing it."""
PEOPLE_A_PAGE = 8
_ONSETS, _VOWELS, _CODAS = "b d f g k l m n p r s t v z", "a e i o u", "l n r s t x"
_LINE = re.compile(rb"^([A-Z][a-z]+ [A-Z][a-z]+), ([a-z]+): ([A-Za-z]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Question:
    """A fact that was stated before."""

    stated: int
    """The place of the statement's value in the text."""
    asked: int
    """The place of the same value in the question."""
    length: int
    """Of the value, in bytes."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of an almanac: `prompt` asks for `value`."""

    prompt: bytes
    value: bytes


def text_of(spec: Almanac) -> bytes:
    """All volumes, ASCII, each of the same length. The same bytes on every platform and Python."""
    random = np.random.default_rng([spec.seed, spec.volumes])
    names = _names(random, spec.volumes * (spec.people + spec.others))
    volumes = [
        _volume(random, [next(names) for _ in range(spec.people + spec.others)], spec) for _ in range(spec.volumes)
    ]
    longest = max(map(len, volumes))
    return "".join(volume.ljust(longest, "\n") for volume in volumes).encode("ascii")


def questions_in(text: bytes) -> list[Question]:
    """Every line of `text` that repeats a fact, by where it stands. Reads the text alone, not how it was drawn."""
    stated: dict[tuple[bytes, bytes], re.Match[bytes]] = {}
    questions = []
    for line in _LINE.finditer(text):
        first = stated.setdefault((line[1], line[2]), line)
        if first is not line:
            questions.append(Question(first.start(3), line.start(3), len(line[3])))
    return questions


def facts_in(text: bytes) -> list[Fact]:
    """Every fact that `text` states, once each, in the order of their first statements."""
    found: dict[bytes, bytes] = {}
    for line in _LINE.finditer(text):
        found.setdefault(line[0].removesuffix(line[3]), line[3])
    return [Fact(prompt, value) for prompt, value in found.items()]


def _volume(random: np.random.Generator, names: list[str], spec: Almanac) -> str:
    asked, others = names[: spec.people], names[spec.people :]
    facts = [f"{name}, {attribute}: {random.choice(values)}" for name in asked for attribute, values in VALUES.items()]
    never = [f"{name}, {attribute}: {random.choice(values)}" for name in others for attribute, values in VALUES.items()]
    pages = [*_pages(random.permutation(facts)), *_pages(random.permutation(never)), *_pages(random.permutation(facts))]
    return "".join(f"Page {number}\n{page}\n" for number, page in enumerate(pages, start=1))


def _pages(lines: "np.ndarray[tuple[int], np.dtype[np.str_]]") -> Iterator[str]:
    for first in range(0, len(lines), PEOPLE_A_PAGE):
        yield "".join(f"{line}\n" for line in lines[first : first + PEOPLE_A_PAGE])


def _names(random: np.random.Generator, count: int) -> Iterator[str]:
    """Different names, given and family, of which many share one of the two."""
    syllables = [onset + vowel for onset in _ONSETS.split() for vowel in _VOWELS.split()]
    parts = [
        (first + second + coda).capitalize() for first in syllables for second in syllables for coda in _CODAS.split()
    ]
    side = int(np.ceil(np.sqrt(count))) + 1
    given, family = (random.choice(parts, side, replace=False) for _ in range(2))
    for place in random.permutation(side * side)[:count]:
        yield f"{given[place // side]} {family[place % side]}"
