"""A number named once in a long, dull text, which is asked for at its end.

    …still. The pass key is 48213, so keep 48213 in mind. Rain … What is the pass key? The pass key is [48213]…

Source: Mohtashami and Jaggi 2023, arXiv:2305.16300, section 4; the words are our own.
"""

from string import digits

import numpy as np

from cortexzoo.specs.task import Passkey, TaskSpec
from cortexzoo.zoo.data.tasks.chance import Chance, of_uniform_symbols
from cortexzoo.zoo.data.tasks.document import PassageWriter
from cortexzoo.zoo.data.tasks.task import Composition, Task
from cortexzoo.zoo.data.tasks.vocabulary import Alphabet, Vocabulary

FILLER = "Rain fell on the lake, and the reeds along the shore stood still. "
BEFORE, BETWEEN, AFTER = "The pass key is ", ", so keep ", " in mind. "
QUESTION = " What is the pass key? The pass key is "
CHARACTERS = "".join([FILLER, BEFORE, BETWEEN, AFTER, QUESTION, digits])


class PasskeyTask(Task):
    """The text between repeats one sentence, so the number is the only news."""

    noise_in_order = True

    def __init__(self, spec: TaskSpec, kind: Passkey, vocabulary: Vocabulary, seed: int) -> None:
        self.kind = kind
        self.depth_chunks = kind.depth_chunks
        self._digits = Alphabet(digits, vocabulary)
        self.noise = np.array(vocabulary.spell(FILLER), dtype=np.int64)
        self._before, self._between, self._after, self._question = (
            vocabulary.spell(text) for text in (BEFORE, BETWEEN, AFTER, QUESTION)
        )
        number = kind.num_digits * self._digits.longest
        facts = len(self._before) + number + len(self._between) + number + len(self._after)
        super().__init__(spec, vocabulary, seed, facts, len(self._question) + number)

    def compose(self, rng: np.random.Generator) -> Composition:
        number = self._digits.write(rng.integers(10, size=self.kind.num_digits))
        facts, questions = PassageWriter(), PassageWriter()
        facts.write([*self._before, *number, *self._between])
        end = facts.write(number)
        facts.write(self._after)
        questions.write(self._question)
        questions.answer(number)
        return Composition(facts.passage(), questions.passage(), evidence=[end])

    def chance(self) -> Chance:
        return of_uniform_symbols(self._digits.spellings, self.kind.num_digits)
