"""Two-layer maps side by side, the hidden units of each weighed by a mask, and one product over all of them."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cortexzoo.zoo.ops.precision import autocast_is_on
from cortexzoo.zoo.ops.spans import rows_in_span


def masked_columns(
    rows: Float[Tensor, "rows hidden"],
    mask: Float[Tensor, "rows columns"],
    weight: Float[Tensor, "hidden units"],
    bias: Float[Tensor, " units"],
    output: Float[Tensor, "units out"],
) -> Float[Tensor, "rows out"]:
    """(relu(rows W + b) ∘ m) O, where the units of column i are weighed by m_i.

    The backward pass is written out: what is as large as all hidden units is kept once, and everything else of this
    size exists for some rows at a time. Equals `naive_masked_columns`; with no more rows than one span, to the bit.
    """
    if autocast_is_on(rows.device):
        return naive_masked_columns(rows, mask, weight, bias, output)
    out: Tensor = _MaskedColumns.apply(rows, mask, weight, bias, output)  # type: ignore[no-untyped-call]
    return out


def naive_masked_columns(rows: Tensor, mask: Tensor, weight: Tensor, bias: Tensor, output: Tensor) -> Tensor:
    """The same by plain operations."""
    hidden = torch.addmm(bias, rows, weight).relu()
    masked = hidden.unflatten(1, (mask.shape[1], -1)) * mask[..., None]
    mixed: Tensor = masked.flatten(1) @ output
    return mixed


class _MaskedColumns(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, mask: Tensor, weight: Tensor, bias: Tensor, output: Tensor) -> Tensor:
        columns = mask.shape[1]
        keeps = any(ctx.needs_input_grad)
        span = rows_in_span(weight.shape[1], rows.device)
        units = rows.new_empty(len(rows) if keeps else min(span, len(rows)), weight.shape[1])
        masked = rows.new_empty(min(span, len(rows)), weight.shape[1])
        out = rows.new_empty(len(rows), output.shape[1])
        for first in range(0, len(rows), span):
            here = slice(first, min(first + span, len(rows)))
            length = here.stop - first
            hidden = units[here] if keeps else units[:length]
            torch.addmm(bias, rows[here], weight, out=hidden).relu_()
            torch.mul(_by_column(hidden, columns), mask[here, :, None], out=_by_column(masked[:length], columns))
            torch.mm(masked[:length], output, out=out[here])
        if keeps:
            ctx.save_for_backward(rows, mask, weight, output, units)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor, ...]:
        rows, mask, weight, output, units = ctx.saved_tensors
        columns = mask.shape[1]
        span = rows_in_span(weight.shape[1], rows.device)
        d_rows, d_mask = torch.empty_like(rows), torch.empty_like(mask)
        d_weight, d_bias, d_output = (
            torch.zeros_like(weight),
            weight.new_zeros(weight.shape[1]),
            torch.zeros_like(output),
        )
        d_units, scratch = (rows.new_empty(min(span, len(rows)), weight.shape[1]) for _ in range(2))
        for first in range(0, len(rows), span):
            here = slice(first, min(first + span, len(rows)))
            hidden, d_hidden, spare = units[here], d_units[: here.stop - first], scratch[: here.stop - first]
            torch.mul(_by_column(hidden, columns), mask[here, :, None], out=_by_column(spare, columns))
            torch.addmm(d_output, spare.T, d_out[here], out=d_output)
            torch.mm(d_out[here], output.T, out=d_hidden)
            torch.mul(d_hidden, hidden, out=spare)
            torch.sum(_by_column(spare, columns), dim=-1, out=d_mask[here])
            _by_column(d_hidden, columns).mul_(mask[here, :, None])
            torch.ops.aten.threshold_backward.grad_input(d_hidden, hidden, 0, grad_input=d_hidden)
            torch.addmm(d_weight, rows[here].T, d_hidden, out=d_weight)
            d_bias.add_(d_hidden.sum(dim=0))
            torch.mm(d_hidden, weight.T, out=d_rows[here])
        return d_rows, d_mask, d_weight, d_bias, d_output


def _by_column(units: Tensor, columns: int) -> Tensor:
    return units.view(len(units), columns, -1)
