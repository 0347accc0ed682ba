"""`operators_match_formulas`: passes as it is, and one small change in an operator shows."""

import pytest

from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.ops import (
    gated_delta_chunks,
    recurrent_gated_delta,
    sliding_window,
    unit_lower_inverse,
)
from tests.harness import tiny
from tests.harness.checking.properties.planted import is_caught

NAME = "operators_match_formulas"


def judged() -> Judgement:
    return judge(REGISTRY[NAME], Check(), tiny.subject())


def test_it_passes_as_it_is() -> None:
    judgement = judged()
    assert judgement.verdict == "pass", judgement.reason
    assert judgement.cases_tried >= 28 and 0 < judgement.observed < 1e-12


@pytest.mark.parametrize(
    ("owner", "function", "old", "new"),
    [
        (recurrent_gated_delta, "recurrent_gated_delta_rule", "k.shape[-1] ** -0.5", "k.shape[-2] ** -0.5"),
        (
            recurrent_gated_delta,
            "recurrent_gated_delta_rule",
            "initial_state.to(dtype, copy=True)",
            "initial_state * 0",
        ),
        (gated_delta_chunks, "span_backward", "by_pair.sum(2).sum(-2)", "by_pair.sum(2).sum(-1)"),
        (sliding_window, "masked_window_attention", "key <= query - window_size", "key < query - window_size"),
        (sliding_window, "masked_window_attention", "q.shape[-1] ** -0.5", "q.shape[-2] ** -0.5"),
        (sliding_window, "_last_tokens", "window_size - 1", "window_size"),
        (unit_lower_inverse, "unit_lower_inverse", "[:, :size, :size]", "[:, -size:, -size:]"),
        (unit_lower_inverse, "_lower_left_mask", "half % 2 == 0", "half % 2 == 1"),
    ],
)
def test_a_small_change_is_found(owner: object, function: str, old: str, new: str) -> None:
    assert is_caught(owner, function, old, new, judged)
