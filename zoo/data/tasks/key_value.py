"""Pairs of words, spelled letter by letter; a question names a key, and its value is the answer.

…QXabc=wxyz;kfe=qpoa; … FJWK … ?abc=[wxyz]OPK…
"""

import itertools
import re
from functools import cached_property
from string import ascii_lowercase

import numpy as np

from cortexzoo.specs.data import PydocTopics
from cortexzoo.specs.task import LETTERS, KeyValue, TaskSpec
from cortexzoo.zoo.data.sources import read_source
from cortexzoo.zoo.data.tasks.chance import Chance, of_uniform_symbols
from cortexzoo.zoo.data.tasks.document import Filler, Ints, PassageWriter
from cortexzoo.zoo.data.tasks.filler import SpelledPairFiller
from cortexzoo.zoo.data.tasks.letters import NOISE_LETTERS, Script, draw_letters
from cortexzoo.zoo.data.tasks.task import Composition, PairsTask
from cortexzoo.zoo.data.tasks.vocabulary import Vocabulary

MARKS = "=;?"
CHARACTERS = ascii_lowercase + MARKS + NOISE_LETTERS


class KeyValueTask(PairsTask):
    """Keys differ within a document, values are drawn independently, each key is asked for at most once."""

    def __init__(self, spec: TaskSpec, kind: KeyValue, vocabulary: Vocabulary, seed: int) -> None:
        self.kind = kind
        self._script = script = Script(vocabulary, MARKS, letters=ascii_lowercase)
        self.noise = script.noise
        letters = kind.key_length + kind.value_length
        facts = kind.num_pairs * script.length(letters=letters, marks="=;")
        questions = kind.num_queries * script.length(letters=letters, marks="?=")
        super().__init__(spec, vocabulary, seed, facts, questions)

    def compose(self, rng: np.random.Generator) -> Composition:
        kind, letters, marks = self.kind, self._script.letters, self._script.marks
        codes = rng.choice(LETTERS**kind.key_length, size=kind.num_pairs, replace=False)
        keys = [letters.write(_letters_of(int(code), kind.key_length)) for code in codes]
        values = [letters.write(draw_letters(rng, kind.value_length)) for _ in keys]
        facts, questions = PassageWriter(), PassageWriter()
        ends = []
        for key, value in zip(keys, values, strict=True):
            facts.write([*key, *marks["="]])
            ends.append(facts.write(value))
            facts.write(marks[";"])
        asked = rng.permutation(kind.num_pairs)[: kind.num_queries]
        for pair in asked:
            questions.write([*marks["?"], *keys[pair], *marks["="]])
            questions.answer(values[pair])
        return Composition(
            facts.passage(),
            questions.passage(),
            evidence=[ends[pair] for pair in asked],
            bound=np.asarray(codes, dtype=np.int64),
            slices={"pairs": [kind.num_pairs] * len(asked), "pair": [int(pair) for pair in asked]},
        )

    def unseen_noise(self) -> Ints:
        return self._script.unseen_noise()

    def text(self) -> Ints:
        return self._words

    @cached_property
    def _words(self) -> Ints:
        """Those of the embedded text, in small letters, with a capital of the noise between them."""
        words = re.findall("[a-z]+", read_source(PydocTopics()).decode().lower())
        between = itertools.cycle(self.noise.tolist())
        spelled = {word: self._spell(word) for word in set(words)}
        return np.array([token for word in words for token in (*spelled[word], next(between))], dtype=np.int64)

    def other_pairs(self, bound: Ints, key: int, *, near: bool) -> Filler:
        letters, (between,), (behind,) = self._script.letters, self._script.marks["="], self._script.marks[";"]
        tokens = np.array(letters.write(range(len(letters))), dtype=np.int64)
        return SpelledPairFiller(
            bound, tokens, (between, behind), self.kind.key_length, self.kind.value_length, near, key
        )

    def _spell(self, word: str) -> list[int]:
        return self._script.letters.write([ascii_lowercase.index(letter) for letter in word])

    def chance(self) -> Chance:
        return of_uniform_symbols(self._script.letters.spellings, self.kind.value_length)


def _letters_of(code: int, count: int) -> Ints:
    return np.array([code // LETTERS**place % LETTERS for place in range(count)], dtype=np.int64)
