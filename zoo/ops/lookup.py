"""Reading and adding at places named by an index, with sums that have one order on every device.

On a card `index_add_` sums in the order in which threads finish; what is used there instead does not.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


def looked_up(table: Float[Tensor, " entries"], index: Int[Tensor, "*asked"]) -> Float[Tensor, "*asked"]:
    """table[index]; its gradient is summed in the order of the places, whatever the number of threads.

    The gradient of plain indexing is summed in the order in which threads finish, and that of an embedding, to the
    same bits as here, forty times as slowly.
    """
    read: Tensor = _LookedUp.apply(table, index)  # type: ignore[no-untyped-call]
    return read


class _LookedUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.entries = len(table)
        return table[index]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        if gradient.is_cuda:
            entries = torch.arange(ctx.entries, device=index.device)[:, None]
            return torch.where(index.flatten() == entries, gradient.flatten(), 0).sum(dim=1), None
        return gradient.new_zeros(ctx.entries).index_add_(0, index.flatten(), gradient.flatten()), None


def added_at(
    rows: Float[Tensor, "rows width"], index: Int[Tensor, " given"], given: Float[Tensor, "given width"]
) -> Float[Tensor, "rows width"]:
    """The rows, with each of `given` added to the one that `index` names, in their order."""
    if rows.is_cuda:
        return rows.index_put((index,), given, accumulate=True)
    return rows.index_add(0, index, given)
