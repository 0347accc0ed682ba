"""Pairs of a one-token key and a one-token value. With k keys, v values and n noise tokens:

… n n k3 v7 k1 v2 k8 v7 n … n n n … n k8 [v7] k3 [v7] k1 [v2] n n …
"""

import numpy as np

from cortexzoo.specs.data import PydocTopics
from cortexzoo.specs.task import PairsOfTokens, TaskSpec
from cortexzoo.zoo.data.sources import read_source
from cortexzoo.zoo.data.tasks.chance import Chance
from cortexzoo.zoo.data.tasks.document import Filler, Ints, PassageWriter
from cortexzoo.zoo.data.tasks.filler import TokenPairFiller, near_tokens
from cortexzoo.zoo.data.tasks.task import Composition, PairsTask
from cortexzoo.zoo.data.tasks.vocabulary import Vocabulary


class TokenPairsTask(PairsTask):
    """Keys differ within a document, values are drawn independently, each key is asked for at most once."""

    def __init__(
        self, spec: TaskSpec, kind: PairsOfTokens, vocabulary: Vocabulary, seed: int, rebound: int = 0
    ) -> None:
        """`rebound`: how many keys are bound a second time, to another value, after all have been bound once."""
        self.kind, self.rebound = kind, rebound
        kinds = {filler.kind for filler in spec.fillers}
        tokens = vocabulary.distinct(kind.num_tokens)
        self._keys, self._values, self.noise = np.split(tokens, [kind.num_keys, kind.num_keys + kind.num_values])
        self._unseen: Ints | None = None
        if "unseen_noise" in kinds:
            count = min(vocabulary.size, kind.num_tokens + kind.num_noise)
            self._unseen = vocabulary.distinct(count)[kind.num_tokens :]
        if "text" in kinds:
            letters = np.frombuffer(read_source(PydocTopics()), dtype=np.uint8)
            self._text = self.noise[letters % len(self.noise)]
        super().__init__(spec, vocabulary, seed, 2 * (kind.num_pairs + rebound), 2 * kind.num_queries)

    def compose(self, rng: np.random.Generator) -> Composition:
        kind = self.kind
        bound = rng.choice(kind.num_keys, size=kind.num_pairs, replace=False)
        keys = self._keys[bound]
        values = rng.integers(kind.num_values, size=kind.num_pairs)
        facts, questions = PassageWriter(), PassageWriter()
        ends = [facts.write([key, self._values[value]]) for key, value in zip(keys, values, strict=True)]
        changed = rng.permutation(kind.num_pairs)[: self.rebound]
        for pair in changed:
            # A step from 1 to all values but one, so that the new value is never the old one.
            values[pair] = (values[pair] + rng.integers(1, kind.num_values)) % kind.num_values
            ends[pair] = facts.write([keys[pair], self._values[values[pair]]])
        asked = rng.permutation(kind.num_pairs)[: kind.num_queries]
        for pair in asked:
            questions.write([keys[pair]])
            questions.answer([self._values[values[pair]]])
        slices = {"pairs": [kind.num_pairs] * len(asked), "pair": [int(pair) for pair in asked]}
        if self.rebound:
            slices["rebound"] = [int(pair in changed) for pair in asked]
        return Composition(
            facts.passage(),
            questions.passage(),
            evidence=[ends[pair] for pair in asked],
            bound=np.asarray(bound, dtype=np.int64),
            slices=slices,
        )

    def unseen_noise(self) -> Ints:
        assert self._unseen is not None
        return self._unseen

    def text(self) -> Ints:
        return self._text

    def other_pairs(self, bound: Ints, key: int, *, near: bool) -> Filler:
        count = self.kind.num_keys
        free = near_tokens(bound, count) if near else np.setdiff1d(np.arange(count), bound)
        return TokenPairFiller(self._keys[free], self._values, key)

    def chance(self) -> Chance:
        return Chance(1 / self.kind.num_values, 1 / self.kind.num_values)
