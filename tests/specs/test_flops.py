"""Operations counted from a spec are those that torch counts while the model runs."""

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cortexzoo.specs.flops import SEARCH, flops
from tests.specs.costed import COSTED, built, some_tokens


def product_in_place(_into: Any, a: list[int], b: list[int], *_: Any, **__: Any) -> int:
    """torch's counter knows `baddbmm` and not its form in place."""
    return 2 * a[0] * a[1] * a[2] * b[2]


def counter() -> FlopCounterMode:
    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten.baddbmm_: product_in_place})


def counted(counter: FlopCounterMode) -> int:
    """Without the angles of rotary positions, which transformers 4 computes by a product of matrices and 5 does not."""
    parts = counter.get_flop_counts()
    angles = [sum(part.values()) for name, part in parts.items() if name.endswith("rotary_emb")]
    return counter.get_total_flops() - sum(angles)


@pytest.mark.parametrize("name", COSTED)
@pytest.mark.parametrize(("rows", "length"), [(2, 48), (3, 70)])
def test_forward_and_training_passes_are_counted_exactly(name: str, rows: int, length: int) -> None:
    variant = COSTED[name]
    model, state = built(variant, rows)
    tokens = some_tokens(rows, length)
    # The counter sees through attention only where it is made of plain products.
    with sdpa_kernel(SDPBackend.MATH):
        with counter() as forward, torch.no_grad():
            model(tokens, state)
        with counter() as training:
            logits = model(tokens, state).logits
            torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward()
    predicted = flops(variant, rows, length)
    outside = predicted.forward.get(SEARCH, 0)
    assert sum(predicted.forward.values()) - outside == counted(forward)
    assert sum(predicted.training.values()) - outside == counted(training)


def test_parts_and_means_add_up() -> None:
    count = flops(COSTED["stable"], 2, 48)
    assert count.tokens == 96
    assert count.forward_per_token * 96 == sum(count.forward.values())
    assert count.training_per_token * 96 == sum(count.training.values())
    assert set(count.forward) == set(count.training) >= {"columns", "vocabulary", "gate", SEARCH}
