"""The fused read of a ring against scores, weights and read-out one after the other."""

import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from cortexzoo.zoo.memory.band import Band, banded_read, banded_scores, banded_weights
from cortexzoo.zoo.memory.band_attention import Reading, fused_band_attention
from tests.zoo.memory.test_band import BANDS

HEADS, HEAD_DIM = 2, 3


def unfused(queries: Tensor, keys: Tensor, values: Tensor, band: Band, decay: Tensor | None) -> Reading:
    visible = band.visible(queries.device)
    per_head = None if decay is None else decay.repeat(len(queries) // HEADS)[:, None, None, None]
    scores = banded_scores(queries, keys, band, visible, per_head)
    weights = banded_weights(scores, visible)
    return Reading(banded_read(weights, values, band), band.fold(weights.detach().sum(dim=2)), scores.detach().amax())


def inputs(band: Band, groups: int) -> list[Tensor]:
    """Queries, keys, values, decay in float64."""
    rng = torch.Generator().manual_seed(band.length)
    written = band.steps * band.rows
    queries = torch.randn(groups * HEADS, written, HEAD_DIM, generator=rng, dtype=torch.float64)
    flat = [
        band.flat(*(torch.randn(groups * HEADS, n, HEAD_DIM, generator=rng, dtype=torch.float64) for n in lengths))
        for lengths in ((band.carried, written), (band.carried, written))
    ]
    return [queries, *flat, torch.rand(HEADS, generator=rng, dtype=torch.float64)]


@given(BANDS, st.integers(1, 2), st.booleans())
@example(Band(128, 0, 130, 1), 2, True)
@example(Band(70, 70, 140, 3), 1, True)
@example(Band(5, 0, 1, 2), 1, True)  # nothing is visible
def test_fused_equals_one_after_the_other(band: Band, groups: int, decays: bool) -> None:
    found = []
    for read in (fused_band_attention, unfused):
        leaves = [tensor.clone().requires_grad_() for tensor in inputs(band, groups)]
        reading = read(*leaves[:3], band, leaves[3] if decays else None)
        asked = leaves if decays else leaves[:3]
        gradients = torch.autograd.grad(reading.retrieved.square().sum() + 0 * sum(t.sum() for t in asked), asked)
        found.append([reading.retrieved.detach(), reading.mass, reading.largest, *gradients])
        assert not reading.mass.requires_grad
        assert not reading.largest.requires_grad
    for got, expected in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
