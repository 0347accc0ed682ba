"""The count of held bytes, on which the figures of memory rest."""

import torch

from cortexzoo.harness.bench.held_bytes import HeldBytes

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
