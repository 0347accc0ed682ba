"""Columns under a mask, fused, against plain operations: values and every gradient."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from cortexzoo.zoo.ops import masked_columns as module
from cortexzoo.zoo.ops.masked_columns import masked_columns, naive_masked_columns


def inputs(rows: int, width: int, columns: int, units: int, dtype: torch.dtype) -> list[Tensor]:
    """Rows, mask, weight, bias, output."""
    rng = torch.Generator().manual_seed(rows)
    shapes = ((rows, width), (rows, columns), (width, columns * units), (columns * units,), (columns * units, width))
    rows_, mask, *weights = (torch.randn(*shape, generator=rng, dtype=dtype) for shape in shapes)
    return [rows_, mask.sigmoid(), *weights]


def results(op: object, tensors: list[Tensor]) -> list[Tensor]:
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    out = op(*leaves)  # type: ignore[operator]
    return [out.detach(), *torch.autograd.grad(out.square().sum(), leaves)]


@given(st.integers(1, 30), st.integers(1, 6), st.integers(1, 5), st.integers(1, 7), st.integers(1, 60))
@example(9, 3, 2, 2, 12)  # spans of three rows
@example(7, 3, 2, 2, 12)  # the last span is shorter
def test_fused_equals_plain_operations_in_spans_of_any_size(
    rows: int, width: int, columns: int, units: int, numbers: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "rows_in_span", lambda units, _device: max(1, numbers // units))
        tensors = inputs(rows, width, columns, units, torch.float64)
        for got, expected in zip(results(masked_columns, tensors), results(naive_masked_columns, tensors), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def test_one_span_gives_the_same_bits() -> None:
    tensors = inputs(64, 16, 4, 16, torch.float32)
    for got, expected in zip(results(masked_columns, tensors), results(naive_masked_columns, tensors), strict=True):
        assert torch.equal(got, expected)


def test_autocast_computes_in_half_precision() -> None:
    tensors = inputs(8, 4, 2, 4, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert masked_columns(*tensors).dtype == torch.bfloat16


def test_without_gradients_nothing_is_kept() -> None:
    tensors = inputs(8, 4, 2, 4, torch.float32)
    with torch.no_grad():
        out = masked_columns(*tensors)
    assert out.grad_fn is None
    assert torch.equal(out, naive_masked_columns(*tensors))
