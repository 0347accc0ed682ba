"""`orders_visit_each_window_once`: passes as it is, and finds an order that leaves windows out or repeats them."""

import pytest

from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.data import mixed_order, permutation
from cortexzoo.zoo.data.mixed_order import MixedOrder
from cortexzoo.zoo.data.order import DocumentOrder, TrainingOrder
from tests.harness import tiny
from tests.harness.checking.properties.planted import is_caught


def judged() -> Judgement:
    return judge(REGISTRY["orders_visit_each_window_once"], Check(), tiny.subject())


def test_it_passes_as_it_is() -> None:
    judgement = judged()
    assert judgement.verdict == "pass", judgement.reason
    assert judgement.cases_tried >= 11


@pytest.mark.parametrize(
    ("owner", "function", "old", "new"),
    [
        (TrainingOrder, "windows_per_epoch", "return max", "return 1 + max"),
        (TrainingOrder, "_unlisted", "* self.sequence_length", "* 1"),
        (DocumentOrder, "window_starts", 'side="right"', 'side="left"'),
        (DocumentOrder, "scored", "< (ends", "<= (ends"),
        (DocumentOrder, "_ends_of_windows", "lengths - 1, 0", "lengths - 1, 1"),
        (DocumentOrder, "starts", "self.seed, int(epoch)", "self.seed, 0"),
        (permutation, "permuted", "_through(found[outside], half, keys)", "0"),
        (MixedOrder, "starts", "offsets[text] + start", "start"),
        (MixedOrder, "starts", "ranks[place]", "place"),
        (mixed_order, "_block", "np.arange(counts[text])", "0"),
        (mixed_order, "_counts", "np.floor(shares)", "np.ceil(shares) + 9"),
    ],
)  # fmt: skip
def test_a_wrong_order_is_found(owner: object, function: str, old: str, new: str) -> None:
    assert is_caught(owner, function, old, new, judged)
