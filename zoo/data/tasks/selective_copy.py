"""A few tokens scattered over a long blank, to be written again in their order. With the blank _ and the cue ?:

    _ _ 4 _ _ _ _ 11 _ _ 4 _ … _ _ _ … ? [4 11 4]

Source: Gu and Dao 2023, arXiv:2312.00752, section 4.1.
Differs: one cue, then the tokens themselves, as in language modelling, where the original reads a cue for each.
"""

import numpy as np

from cortexzoo.specs.task import SelectiveCopy, TaskSpec
from cortexzoo.zoo.data.tasks.chance import Chance, of_uniform_symbols
from cortexzoo.zoo.data.tasks.document import BLANK, Passage, PassageWriter
from cortexzoo.zoo.data.tasks.task import Composition, Task
from cortexzoo.zoo.data.tasks.vocabulary import Vocabulary


class SelectiveCopyTask(Task):
    """One answer: all tokens. The blank is the only noise."""

    def __init__(self, spec: TaskSpec, kind: SelectiveCopy, vocabulary: Vocabulary, seed: int) -> None:
        self.kind = kind
        tokens = vocabulary.distinct(kind.num_tokens)
        self._content, self._cue, self.noise = tokens[:-2], int(tokens[-2]), tokens[-1:]
        super().__init__(spec, vocabulary, seed, kind.sequence_length, 1 + kind.num_copied)

    def compose(self, rng: np.random.Generator) -> Composition:
        kind = self.kind
        copied = self._content[rng.integers(len(self._content), size=kind.num_copied)]
        places = np.sort(rng.choice(kind.sequence_length, size=kind.num_copied, replace=False))
        tokens = np.full(kind.sequence_length, BLANK, dtype=np.int64)
        tokens[places] = copied
        questions = PassageWriter()
        questions.write([self._cue])
        questions.answer(copied.tolist())
        facts = Passage(tokens, np.zeros_like(tokens))
        return Composition(facts, questions.passage(), evidence=[int(places[-1])])

    def chance(self) -> Chance:
        return of_uniform_symbols([(int(token),) for token in self._content], self.kind.num_copied)
