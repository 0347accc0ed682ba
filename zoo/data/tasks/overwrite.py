"""Pairs of tokens of which some keys are bound again before the gap: the last value counts.

… n k3 v7 k1 v2 k3 v5 n … n n n … n k3 [v5] k1 [v2] n n …
"""

from cortexzoo.specs.task import Overwrite, TaskSpec
from cortexzoo.zoo.data.tasks.token_pairs import TokenPairsTask
from cortexzoo.zoo.data.tasks.vocabulary import Vocabulary


class OverwriteTask(TokenPairsTask):
    """A memory that only adds what it reads mixes the two values; the delta rule takes the old one out."""

    def __init__(self, spec: TaskSpec, kind: Overwrite, vocabulary: Vocabulary, seed: int) -> None:
        super().__init__(spec, kind, vocabulary, seed, rebound=kind.num_rebound)
