"""A string of letters, to be written again, backwards or as it was.

…MV(qwerty)JX … FJWK … Z?[ytrewq]OP…
"""

from string import ascii_lowercase

import numpy as np

from cortexzoo.specs.task import Copy, TaskSpec
from cortexzoo.zoo.data.tasks.chance import Chance, of_uniform_symbols
from cortexzoo.zoo.data.tasks.document import PassageWriter
from cortexzoo.zoo.data.tasks.letters import NOISE_LETTERS, Script, draw_letters
from cortexzoo.zoo.data.tasks.task import Composition, Task
from cortexzoo.zoo.data.tasks.vocabulary import Vocabulary

MARKS = "()?"
CHARACTERS = ascii_lowercase + MARKS + NOISE_LETTERS


class CopyTask(Task):
    """One answer: the whole string."""

    def __init__(self, spec: TaskSpec, kind: Copy, vocabulary: Vocabulary, seed: int) -> None:
        self.kind = kind
        self._script = script = Script(vocabulary, MARKS, letters=ascii_lowercase)
        self.noise = script.noise
        facts = script.length(letters=kind.num_letters, marks="()")
        questions = script.length(letters=kind.num_letters, marks="?")
        super().__init__(spec, vocabulary, seed, facts, questions)

    def compose(self, rng: np.random.Generator) -> Composition:
        letters, marks = self._script.letters, self._script.marks
        string = draw_letters(rng, self.kind.num_letters)
        facts, questions = PassageWriter(), PassageWriter()
        facts.write(marks["("])
        end = facts.write(letters.write(string))
        facts.write(marks[")"])
        questions.write(marks["?"])
        questions.answer(letters.write(string[::-1] if self.kind.order == "reversed" else string))
        return Composition(facts.passage(), questions.passage(), evidence=[end])

    def chance(self) -> Chance:
        return of_uniform_symbols(self._script.letters.spellings, self.kind.num_letters)
