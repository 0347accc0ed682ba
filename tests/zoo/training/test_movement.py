"""How far weights move: all of them, a sample, and parameters of several kinds together."""

import math

import pytest
import torch
from torch import nn

from cortexzoo.zoo.training.state.movement import Movement


def test_all_elements_count() -> None:
    parameters = [nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(0))]
    movement = Movement(parameters)
    parameters[0].data += 3.0
    assert movement.rms() == pytest.approx(math.sqrt(6 * 9 / 10))


def test_a_sample_is_spread_over_the_whole_length() -> None:
    weight = nn.Parameter(torch.zeros(3, 5001))
    movement = Movement([weight], 4096)
    (part,) = movement._parts()
    assert 3000 < len(part) <= 4096
    weight.data[2, 4997:] = 1.0  # within the last stretch between two that are compared
    assert 0 < movement.rms() <= 1 / math.sqrt(3000)


def test_parameters_of_several_types_are_measured_together() -> None:
    parameters = [nn.Parameter(torch.zeros(8)), nn.Parameter(torch.zeros(8, dtype=torch.bfloat16))]
    movement = Movement(parameters, 4)
    for parameter in parameters:
        parameter.data += 0.5
    assert movement.rms() == pytest.approx(0.5)


def test_nothing_moves_nowhere() -> None:
    assert math.isnan(Movement([]).rms())
