"""The operators written out: the gated delta rule token by token, attention query by query, columns one by one."""

import math

import torch
from torch import Tensor


def gated_delta_again(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, scale: float | None, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Outputs [B, T, H, V] and the last state [B, H, K, V]: S fades, takes in what differs, and is read.

    q, k [B, T, H, K], v [B, T, H, V], log decays g and strengths beta [B, T, H]; scale 1/√K unless given.
    """
    rows, time, heads, width = k.shape
    factor = 1 / math.sqrt(width) if scale is None else scale
    outputs, last = [], []
    for row in range(rows):
        for head in range(heads):
            held = k.new_zeros(width, v.shape[-1]) if state is None else state[row, head]
            for t in range(time):
                key = k[row, t, head]
                held = held * g[row, t, head].exp()
                held = held + beta[row, t, head] * torch.outer(key, v[row, t, head] - key @ held)
                outputs.append(factor * (q[row, t, head] @ held))
            last.append(held)
    out = torch.stack(outputs).view(rows, heads, time, -1).transpose(1, 2) if outputs else v
    return out, torch.stack(last).view(rows, heads, width, -1)


def window_again(
    q: Tensor, k: Tensor, v: Tensor, size: int, scale: float | None, before: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Each query's softmax over the last `size` keys, its own included, and the last `size` − 1 keys and values.

    q, k [B, T, H, K], v [B, T, H, V]; `before`: keys and values that come first; scale 1/√K unless given.
    """
    factor = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    carried = 0 if before is None else before[0].shape[1]
    keys, values = (k, v) if before is None else (torch.cat([before[0], k], 1), torch.cat([before[1], v], 1))
    outputs = []
    for t in range(q.shape[1]):
        first, end = max(0, carried + t + 1 - size), carried + t + 1
        scores = factor * (q[:, t : t + 1] * keys[:, first:end]).sum(-1)  # [B, seen, H]
        outputs.append((scores.softmax(1)[..., None] * values[:, first:end]).sum(1))
    kept = max(0, keys.shape[1] - size + 1)
    return torch.stack(outputs, 1) if outputs else v, (keys[:, kept:], values[:, kept:])


def columns_again(rows: Tensor, mask: Tensor, weight: Tensor, bias: Tensor, output: Tensor) -> Tensor:
    """The sum over columns i of m_i relu(x W_i + b_i) O_i: each has as many hidden units, which lie side by side."""
    units, out = weight.shape[1] // mask.shape[1], rows.new_zeros(len(rows), output.shape[1])
    for column in range(mask.shape[1]):
        first, end = column * units, (column + 1) * units
        before = bias[first:end] + sum(rows[:, i, None] * weight[i, first:end] for i in range(rows.shape[1]))
        hidden = torch.where(before > 0, before, torch.zeros_like(before))
        out = out + mask[:, column, None] * torch.stack([(hidden * o).sum(1) for o in output[first:end].T], 1)
    return out
