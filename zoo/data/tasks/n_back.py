"""A string of letters; a question names a distance, and the answer is the letter so many places from the string's end.

…MV(qwertyui)JX … FJWK … Z?03=[y]?08=[q]OP…
"""

from string import ascii_lowercase, digits

import numpy as np

from cortexzoo.specs.task import NBack, TaskSpec
from cortexzoo.zoo.data.tasks.chance import Chance, of_uniform_symbols
from cortexzoo.zoo.data.tasks.document import PassageWriter
from cortexzoo.zoo.data.tasks.letters import NOISE_LETTERS, Script, draw_letters
from cortexzoo.zoo.data.tasks.task import Composition, Task
from cortexzoo.zoo.data.tasks.vocabulary import Vocabulary

MARKS = "()?="
CHARACTERS = ascii_lowercase + digits + MARKS + NOISE_LETTERS


class NBackTask(Task):
    """Distance 1 is the last letter; distances differ within a document."""

    def __init__(self, spec: TaskSpec, kind: NBack, vocabulary: Vocabulary, seed: int) -> None:
        self.kind = kind
        self._script = script = Script(vocabulary, MARKS, letters=ascii_lowercase, digits=digits)
        self.noise = script.noise
        facts = script.length(letters=kind.num_letters, marks="()")
        questions = kind.num_queries * script.length(letters=1, digits=2, marks="?=")
        super().__init__(spec, vocabulary, seed, facts, questions)

    def compose(self, rng: np.random.Generator) -> Composition:
        kind, letters, marks = self.kind, self._script.letters, self._script.marks
        string = draw_letters(rng, kind.num_letters)
        facts, questions = PassageWriter(), PassageWriter()
        facts.write(marks["("])
        end = facts.write(letters.write(string))
        facts.write(marks[")"])
        distances = [int(place) + 1 for place in rng.permutation(kind.num_letters)[: kind.num_queries]]
        for distance in distances:
            number = self._script.digits.write(divmod(distance, 10))
            questions.write([*marks["?"], *number, *marks["="]])
            questions.answer(letters.write([string[-distance]]))
        return Composition(
            facts.passage(), questions.passage(), evidence=[end] * len(distances), slices={"distance": distances}
        )

    def chance(self) -> Chance:
        return of_uniform_symbols(self._script.letters.spellings, 1)
