"""The band sees what a plain list of slots would show, whatever was carried in."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from cortexzoo.zoo.memory.band import Band, banded_read, banded_scores, banded_weights

BANDS = st.builds(
    lambda capacity, carried, steps, rows: Band(capacity, min(carried, capacity), steps, rows),
    st.integers(1, 70),
    st.integers(0, 70),
    st.integers(1, 140),
    st.integers(1, 5),
)


def weights(
    queries: torch.Tensor, flat_keys: torch.Tensor, band: Band, decay_per_step: torch.Tensor | None
) -> torch.Tensor:
    visible = band.visible(queries.device)
    return banded_weights(banded_scores(queries, flat_keys, band, visible, decay_per_step), visible)


def numbered(band: Band, start: int, count: int) -> torch.Tensor:
    return torch.arange(start, start + count, dtype=torch.float64).reshape(1, count, 1)


@given(BANDS)
def test_a_query_sees_the_last_slots_before_its_step(band: Band) -> None:
    written = band.steps * band.rows
    flat = band.flat(numbered(band, -band.carried, band.carried), numbered(band, 0, written))
    windows = band.windows(flat)[0, :, 0]
    visible = band.visible(torch.device("cpu"))
    assert bool(visible.any()) == band.sees_something
    ages = band.ages(torch.device("cpu"))
    for step in range(band.steps):
        block, first = divmod(step, band.block_steps)
        for row in range(band.rows):
            query = first * band.rows + row
            seen = windows[block][visible[block, query]].tolist()
            newest = step * band.rows
            assert seen == list(range(max(newest - band.capacity, -band.carried), newest))
            seen_ages = ages[query][visible[block, query]].tolist()
            assert seen_ages == [step - slot // band.rows for slot in range(int(newest - len(seen)), newest)]


@given(BANDS)
def test_a_query_that_sees_nothing_reads_zero_and_gives_no_gradient(band: Band) -> None:
    written = band.steps * band.rows
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(1, written, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    flat = band.flat(
        torch.randn(1, band.carried, 4, dtype=torch.float64, generator=generator),
        torch.randn(1, written, 4, dtype=torch.float64, generator=generator),
    )
    read = banded_read(weights(queries, flat, band, None), flat, band)
    (gradient,) = torch.autograd.grad(read.sum(), queries)
    assert gradient.isfinite().all()
    if band.carried == 0:
        assert read[:, : band.rows].abs().max() == 0
        assert gradient[:, : band.rows].abs().max() == 0


@given(BANDS)
def test_fold_sums_the_slots_of_all_blocks_in_their_order(band: Band) -> None:
    per_window = torch.randn(2, band.num_blocks, band.span, generator=torch.Generator().manual_seed(2))
    expected = torch.zeros(2, band.length)
    for block in range(band.num_blocks):
        first = block * band.block_queries
        expected[:, first : first + band.span] += per_window[:, block]
    assert torch.equal(band.fold(per_window), expected)


@given(BANDS)
def test_weights_sum_to_one_and_fold_counts_every_query_once(band: Band) -> None:
    written = band.steps * band.rows
    generator = torch.Generator().manual_seed(1)
    queries = torch.randn(1, written, 4, dtype=torch.float64, generator=generator)
    flat = band.flat(
        torch.randn(1, band.carried, 4, dtype=torch.float64, generator=generator),
        torch.randn(1, written, 4, dtype=torch.float64, generator=generator),
    )
    decayed = weights(queries, flat, band, torch.full((1, 1, 1, 1), 0.3, dtype=torch.float64))
    blind = band.rows if band.carried == 0 else 0
    total = band.fold(decayed.sum(dim=2)).sum()
    torch.testing.assert_close(total, torch.tensor(float(written - blind), dtype=torch.float64))
