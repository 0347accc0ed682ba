"""The count of held bytes, on which the figures of memory rest."""

import torch

from cortexzoo.harness.bench.sidecar import HeldBytes, slope

FLOATS = 1000


def test_bytes_count_while_anything_holds_them_the_graph_included() -> None:
    x = torch.ones(FLOATS, requires_grad=True)
    held = HeldBytes()
    with held:
        y = x.exp()
        assert held.held == 4 * FLOATS
        view = y[1:]
        assert held.held == 4 * FLOATS
        z = y.exp()
        del y, view  # the graph keeps the contents
        assert held.held == held.most == 8 * FLOATS
        z.sum().backward()
        del z
    assert held.held == 4 * FLOATS  # the gradient of x
    assert held.most >= 12 * FLOATS


def test_a_slope_of_one_is_linear() -> None:
    assert abs(slope([1, 2, 4], [3.0, 6.0, 12.0]) - 1) < 1e-9
    assert abs(slope([1, 2, 4], [3.0, 12.0, 48.0]) - 2) < 1e-9
