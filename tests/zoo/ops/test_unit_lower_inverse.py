"""The inverse by blocks against torch's triangular solve, and where a series would fail."""

import pytest
import torch

from cortexzoo.zoo.ops.unit_lower_inverse import unit_lower_inverse
from tests.tolerances import TRIANGULAR_INVERSE


@pytest.mark.parametrize("size", [1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 64, 100, 128])
def test_blocks_equal_a_triangular_solve(size: int) -> None:
    rng = torch.Generator().manual_seed(size)
    lower = (torch.randn(3, size, size, generator=rng, dtype=torch.float64) / size**0.5).tril(-1)
    before = lower.clone()
    identity = torch.eye(size, dtype=torch.float64)
    expected = torch.linalg.solve_triangular(
        identity + lower, identity.expand_as(lower), upper=False, unitriangular=True
    )
    got = unit_lower_inverse(lower)
    assert float((got - expected).norm() / expected.norm()) <= TRIANGULAR_INVERSE
    assert lower.equal(before)


@pytest.mark.parametrize("size", [16, 32, 64])
def test_equal_keys_at_full_strength_are_exact(size: int) -> None:
    # A = ones below the diagonal: the inverse of I + A takes the difference of neighbours.
    lower = torch.ones(2, size, size).tril(-1)
    expected = torch.eye(size) - torch.eye(size).roll(1, dims=0).tril(-1)
    assert unit_lower_inverse(lower).equal(expected.expand(2, -1, -1))
