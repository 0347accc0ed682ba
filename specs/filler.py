"""What stands between the facts of a task and its questions: noise, or something that looks more like facts."""

from typing import Annotated, Literal

from pydantic import Field

from cortexzoo.specs.base import Spec
from cortexzoo.specs.provenance import OURS


class NoiseFiller(Spec):
    """Tokens that no fact and no answer has, drawn one by one."""

    kind: Literal["noise"] = "noise"


class UnseenNoise(Spec):
    """The same with tokens that neither the task nor `noise` uses: never trained on, unless named in training."""

    kind: Literal["unseen_noise"] = "unseen_noise"


class TextFiller(Spec):
    """A stretch of the embedded English text.

    Where facts are spelled, its words, without the marks that make a fact; else its sequence of letters, through a
    fixed map onto tokens that are neither keys nor values.
    """

    kind: Literal["text"] = "text"


class PairsFiller(Spec):
    """Further facts, of keys that are never asked for."""

    kind: Literal["pairs"] = "pairs"


class NearKeys(Spec):
    """Further facts, of keys near the task's own: all letters but the last agree; of one-token keys, the next ones."""

    kind: Literal["near_keys"] = "near_keys"


OneFiller = Annotated[NoiseFiller | UnseenNoise | TextFiller | PairsFiller | NearKeys, Field(discriminator="kind")]


class MixedFiller(Spec):
    """Each document has one of several, each equally often; recall is reported for each."""

    kind: Literal["mixed"] = "mixed"
    of: Annotated[tuple[OneFiller, ...], Field(min_length=2), OURS]


FillerSpec = Annotated[
    NoiseFiller | UnseenNoise | TextFiller | PairsFiller | NearKeys | MixedFiller, Field(discriminator="kind")
]
"""Of a task."""
