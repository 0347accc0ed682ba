"""What tasks in letters and digits share: their alphabets, and noise that none of them uses."""

from string import ascii_uppercase
from string import digits as decimal_digits

import numpy as np

from cortexzoo.specs.task import LETTERS
from cortexzoo.zoo.data.tasks.document import Ints
from cortexzoo.zoo.data.tasks.vocabulary import Alphabet, Vocabulary, noise_of_characters

NOISE_LETTERS = ascii_uppercase
UNSEEN_LETTERS = decimal_digits


class Script:
    """The tokens of the letters, digits and marks that a task uses; capitals are noise."""

    def __init__(self, vocabulary: Vocabulary, marks: str, letters: str = "", digits: str = "") -> None:
        self.letters = Alphabet(letters, vocabulary)
        self.digits = Alphabet(digits, vocabulary)
        self.marks = {mark: vocabulary.spell(mark) for mark in marks}
        self._vocabulary = vocabulary
        used = self.letters.tokens | self.digits.tokens | {token for mark in self.marks.values() for token in mark}
        self._used = used
        self.noise = noise_of_characters(NOISE_LETTERS, used, vocabulary)

    def unseen_noise(self) -> Ints:
        """Tokens that neither the task nor its noise uses. Raises `DataError` where the tokenizer has none."""
        return noise_of_characters(UNSEEN_LETTERS, self._used | set(self.noise.tolist()), self._vocabulary)

    def length(self, letters: int = 0, digits: int = 0, marks: str = "") -> int:
        """Tokens at most of so many letters and digits, and of these marks."""
        of_marks = sum(len(self.marks[mark]) for mark in marks)
        return letters * self.letters.longest + digits * self.digits.longest + of_marks


def draw_letters(rng: np.random.Generator, count: int) -> Ints:
    """Letters, as numbers from 0, drawn evenly and independently."""
    return rng.integers(LETTERS, size=count)
