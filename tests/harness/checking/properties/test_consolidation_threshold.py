"""The threshold of a slow store that is made for the check: between keys that were taught and others."""

import pytest
import torch

from cortexzoo.harness.checking.properties.consolidation import least_mistaken


@pytest.mark.parametrize(
    ("below", "above", "border"),
    [
        ([0.1, 0.3], [0.9, 0.7], 0.5),
        ([0.3, 0.1, 0.8], [0.7, 0.9, 1.0], 0.5),  # one of three is mistaken either way; the gap there is the widest
        ([0.1], [0.2], 0.15),
        ([0.1, 0.2, 0.3, 0.95], [0.9, 1.0, 1.1, 1.2], 0.6),
    ],
)
def test_the_border_with_the_fewest_mistakes(below: list[float], above: list[float], border: float) -> None:
    assert least_mistaken(torch.tensor(below), torch.tensor(above)) == pytest.approx(border)


def test_shares_count_and_not_numbers() -> None:
    """Ten taught keys and one other: the single other one is not given up for one of ten."""
    taught = torch.tensor([0.1] * 9 + [0.6])
    assert 0.1 < least_mistaken(taught, torch.tensor([0.5])) < 0.5
