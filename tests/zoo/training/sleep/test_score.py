"""A sleep may stay within its bounds, to the last digit, and not beyond."""

import math

import pytest

from cortexzoo.specs.sleep import AcceptAlways, AcceptHeldOut
from cortexzoo.zoo.training.sleep.score import Score, objection

BEFORE = Score(2.0, 0.9)


@pytest.mark.parametrize("score", [Score(2.04, 0.88), Score(1.0, 1.0), Score(2.04, None)])
def test_what_holds_may_stay(score: Score) -> None:
    assert objection(AcceptHeldOut(), BEFORE, BEFORE, score) is None


@pytest.mark.parametrize("other", [BEFORE, Score(9.0, 0.1)])
@pytest.mark.parametrize(
    ("score", "said"),
    [
        (Score(2.0401, 0.9), "the held-out loss is 2.0401, at most 2.04 is allowed"),
        (Score(2.0, 0.8799), "recall is 0.8799, at least 0.88 is required"),
        (Score(math.nan, 0.9), "the held-out loss is nan"),
        (Score(math.inf, 0.9), "the held-out loss is inf"),
    ],
)
def test_what_harms_is_named_with_its_bound(score: Score, said: str, other: Score) -> None:
    """Whichever of the two it is worse than: from before the first sleep, or from before this one."""
    assert objection(AcceptHeldOut(), other, BEFORE, score) == said
    assert objection(AcceptHeldOut(), BEFORE, other, score) == said
    assert objection(AcceptAlways(), BEFORE, other, score) == (None if math.isfinite(score.loss) else said)


def test_nothing_passes_against_a_reference_that_is_not_finite() -> None:
    assert objection(AcceptHeldOut(), Score(math.nan), BEFORE, Score(1.0)) is not None
    assert objection(AcceptHeldOut(), BEFORE, Score(math.nan), Score(1.0)) is not None


def test_recall_that_is_no_number_is_refused() -> None:
    said = objection(AcceptHeldOut(), BEFORE, BEFORE, Score(2.0, math.nan))
    assert said == "recall is nan, at least 0.88 is required"
