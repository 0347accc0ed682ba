"""MQAR: every key is asked for once, at places drawn from a power law, amid keys that were never bound.

    k3 v7 k1 v2 | k9 k4 k1 [v2] k5 k8 k3 [v7] k6 k2 …

Source: Arora et al. 2023, arXiv:2312.04927, section 4 and appendix.
Differs: the value follows its key in the text, as in language modelling, where the original names it only in the
label; filler is drawn from unbound keys, where the original draws any token, values included.
"""

import numpy as np

from cortexzoo.specs.task import MultiQueryRecall, TaskSpec
from cortexzoo.zoo.data.tasks.chance import Chance
from cortexzoo.zoo.data.tasks.document import BLANK, Ints, Passage, PassageWriter
from cortexzoo.zoo.data.tasks.task import Composition, Task
from cortexzoo.zoo.data.tasks.vocabulary import Vocabulary


class MultiQueryRecallTask(Task):
    """Keys are the lower half of the vocabulary, values the upper half; neither repeats within a document.

    At gap 0 a document is that of the original: pairs from place 0 on and questions in the rest of `sequence_length`.
    """

    def __init__(self, spec: TaskSpec, kind: MultiQueryRecall, vocabulary: Vocabulary, seed: int) -> None:
        self.kind = kind
        self._keys, self._values = np.split(vocabulary.distinct(kind.vocab_size), 2)
        self.noise = self._keys
        # A question takes two tokens: where the rest is odd its last token is noise.
        self._places = kind.sequence_length // 2 - kind.num_pairs
        weights = np.arange(1, self._places + 1, dtype=np.float64) ** (kind.power - 1)
        self._weights = weights / weights.sum()
        facts = 2 * kind.num_pairs
        super().__init__(spec, vocabulary, seed, facts, kind.sequence_length - facts)

    def compose(self, rng: np.random.Generator) -> Composition:
        count, half = self.kind.num_pairs, self.kind.vocab_size // 2
        bound = rng.choice(half, size=count, replace=False)
        keys = self._keys[bound]
        values = self._values[rng.choice(half, size=count, replace=False)]
        places = rng.choice(self._places, size=count, replace=False, p=self._weights)
        facts = PassageWriter()
        ends = [facts.write([key, value]) for key, value in zip(keys, values, strict=True)]
        asked = np.argsort(places)
        return Composition(
            facts.passage(),
            self._questions_at(2 * places[asked], keys[asked], values[asked]),
            evidence=[ends[pair] for pair in asked],
            noise=np.delete(self._keys, bound),
            slices={"pairs": [count] * count, "pair": asked.tolist()},
        )

    def _questions_at(self, places: Ints, keys: Ints, values: Ints) -> Passage:
        tokens = np.full(self.kind.sequence_length - 2 * self.kind.num_pairs, BLANK, dtype=np.int64)
        answers = np.zeros_like(tokens)
        tokens[places], tokens[places + 1] = keys, values
        answers[places + 1] = np.arange(1, len(places) + 1)
        return Passage(tokens, answers)

    def chance(self) -> Chance:
        """Values do not repeat, so each question has one candidate less than the one before."""
        count, half = self.kind.num_pairs, self.kind.vocab_size // 2
        right = sum(1 / (half - asked) for asked in range(count)) / count
        return Chance(right, right)
