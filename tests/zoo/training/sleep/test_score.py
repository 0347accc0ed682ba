"""A sleep may stay within its bounds, to the last digit, and not beyond."""

import math

import pytest

from specs.sleep import AcceptAlways, AcceptHeldOut
from zoo.training.sleep.score import Score, objection

BEFORE = Score(2.0, 0.9)


@pytest.mark.parametrize("score", [Score(2.04, 0.88), Score(1.0, 1.0), Score(2.04, None)])
def test_what_holds_may_stay(score: Score) -> None:
    assert objection(AcceptHeldOut(), BEFORE, score) is None


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (Score(2.0401, 0.9), "the held-out loss is 2.0401, at most 2.04 is allowed"),
        (Score(2.0, 0.8799), "recall is 0.8799, at least 0.88 is required"),
        (Score(math.nan, 0.9), "the held-out loss is nan"),
        (Score(math.inf, 0.9), "the held-out loss is inf"),
        (Score(2.0, math.nan), "recall is nan, at least 0.88 is required"),
    ],
)
def test_what_harms_is_named_with_its_bound(score: Score, said: str) -> None:
    assert objection(AcceptHeldOut(), BEFORE, score) == said
    assert objection(AcceptAlways(), BEFORE, score) == (None if math.isfinite(score.loss) else said)


def test_nothing_passes_against_a_reference_that_is_not_finite() -> None:
    assert objection(AcceptHeldOut(), Score(math.nan), Score(1.0)) is not None
