"""Causal attention over a sliding window, in blocks, with the keys and values that it carries on."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from cortexzoo.zoo.ops.precision import compute_dtype, full_precision
from cortexzoo.zoo.ops.shapes import check_shapes
from cortexzoo.zoo.ops.spans import blocks_in_span

FEW_BLOCKS = 8
"""So many blocks may be filled with nothing; a window that reaches further is cut to the tokens that there are."""


class WindowState(NamedTuple):
    """The last keys and values before the next token: at most window_size - 1 of each, [batch, tokens, heads, dim]."""

    keys: Tensor
    values: Tensor


def sliding_window_attention(
    q: Float[Tensor, "batch time heads key_dim"],
    k: Float[Tensor, "batch time heads key_dim"],
    v: Float[Tensor, "batch time heads value_dim"],
    window_size: int,
    scale: float | None = None,
    initial_state: WindowState | None = None,
    output_final_state: bool = False,
    block_size: int = 64,
) -> tuple[Float[Tensor, "batch time heads value_dim"], WindowState | None]:
    """Softmax attention in which token i sees the tokens i - window_size < j <= i, itself included.

        o_i = sum_j softmax_j(scale q_i . k_j) v_j      scale = key_dim^(-1/2) unless given

    Source: Beltagy et al. 2020, arXiv:2004.05150, Sec. 3.1 (the causal half of its window).
    Differs: keys and values of the last window_size - 1 tokens are argument and result, so that a sequence in
    pieces gives what the whole gives. Fewer are as good as none before them: a document starts with no state.

    Each block of block_size queries meets its own block of keys and those before it that the window reaches: time and
    memory grow with time * (window_size + block_size). Inside, everything is float32 or wider, autocast or not; the
    output has v's dtype, carried keys and values keep their own. Positions are the caller's business (rotate q and k
    before). Inputs must be finite: a NaN in one key reaches the queries of its block's window.

    Raises ValueError if shapes do not fit together, if window_size or block_size < 1, or if more than window_size - 1
    tokens are carried in.
    """
    _check_inputs(q, k, v, window_size, initial_state, block_size)
    keys, values = (k, v) if initial_state is None else _join(initial_state, k, v)
    final_state = _last_tokens(keys, values, window_size) if output_final_state else None
    batch, time, heads, key_dim = q.shape
    if time == 0:
        return torch.zeros_like(v), final_state

    dtype = compute_dtype(q, keys, values)
    scale = key_dim**-0.5 if scale is None else scale
    if time == 1 and not torch.is_grad_enabled():
        with full_precision(q.device):
            return _of_one_token(q.to(dtype) * scale, keys.to(dtype), values.to(dtype)).to(v.dtype), final_state
    block = min(block_size, time)
    there = -(-keys.shape[1] // block)  # blocks that there are, with those of carried tokens
    reach = min(-(-(window_size - 1) // block), max(there, FEW_BLOCKS))  # blocks before its own that a query can see
    missing = reach * block - (keys.shape[1] - time)  # tokens before the first that were not carried
    with full_precision(q.device):
        queries = _blocks(q.to(dtype) * scale, block)
        sizes = _span_sizes(queries.shape[0], blocks_in_span(block, batch * heads, q.device))
        # Split, not sliced: the gradient of a slice is as long as the sequence, that of a split is one join.
        near_keys, *key_spans = _blocks(keys.to(dtype), block, missing).split([reach, *sizes])
        near_values, *value_spans = _blocks(values.to(dtype), block, missing).split([reach, *sizes])
        band = _band_bias(block, reach, window_size, dtype, q.device)
        outs = []
        first = 0
        for query, key, value in zip(queries.split(sizes), key_spans, value_spans, strict=True):
            near_keys, near_values = torch.cat((near_keys, key)), torch.cat((near_values, value))
            bias = band if first * block >= missing else _hide_missing(band, len(query), missing - first * block)
            outs.append(_attend(query, _with_reach(near_keys, reach), _with_reach(near_values, reach), bias))
            first += len(query)
            near_keys, near_values = near_keys[len(query) :], near_values[len(query) :]
    out = torch.cat(outs).unflatten(1, (batch, heads)).permute(1, 0, 3, 2, 4).flatten(1, 2)[:, :time]
    return out.to(v.dtype), final_state


def masked_window_attention(
    q: Float[Tensor, "batch time heads key_dim"],
    k: Float[Tensor, "batch time heads key_dim"],
    v: Float[Tensor, "batch time heads value_dim"],
    window_size: int,
    scale: float | None = None,
    initial_state: WindowState | None = None,
    output_final_state: bool = False,
    block_size: int = 64,
) -> tuple[Float[Tensor, "batch time heads value_dim"], WindowState | None]:
    """sliding_window_attention through one band mask over all pairs of tokens: the oracle, time squared.

    block_size changes nothing here: it makes the two forms interchangeable.
    """
    _check_inputs(q, k, v, window_size, initial_state, block_size)
    keys, values = (k, v) if initial_state is None else _join(initial_state, k, v)
    dtype = compute_dtype(q, keys, values)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    carried = keys.shape[1] - q.shape[1]
    query = torch.arange(q.shape[1], device=q.device)[:, None] + carried
    key = torch.arange(keys.shape[1], device=q.device)[None, :]
    hidden = (key > query) | (key <= query - window_size)
    with full_precision(q.device):
        scores = torch.einsum("bihd,bjhd->bhij", q.to(dtype) * scale, keys.to(dtype))
        weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
        out = torch.einsum("bhij,bjhd->bihd", weights, values.to(dtype))
    return out.to(v.dtype), _last_tokens(keys, values, window_size) if output_final_state else None


def _of_one_token(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """A text that is generated comes one token at a time: no more is carried than it sees, and nothing is hidden."""
    weights = (q.transpose(1, 2) @ keys.permute(0, 2, 3, 1)).softmax(-1)  # [batch, heads, 1, tokens]
    out: Tensor = (weights @ values.transpose(1, 2)).transpose(1, 2)
    return out


def _blocks(tensor: Tensor, block: int, missing: int = 0) -> Tensor:
    """[batch, time, heads, dim] as [blocks, batch * heads, block, dim], filled up with `missing` tokens in front."""
    tensor = pad(tensor, (0, 0, 0, 0, missing, -(tensor.shape[1] + missing) % block))
    blocked: Tensor = tensor.unflatten(1, (-1, block)).permute(1, 0, 3, 2, 4)  # [blocks, batch, heads, block, dim]
    return blocked.flatten(1, 2)


def _with_reach(blocked: Tensor, reach: int) -> Tensor:
    """Each block behind the `reach` blocks before it: [blocks - reach, batch * heads, (reach + 1) * block, dim]."""
    count = blocked.shape[0] - reach
    return torch.cat([blocked[first : first + count] for first in range(reach + 1)], dim=2)


def _attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Attention of each block [blocks, batch * heads, block, dim] to the tokens near it, under its bias."""
    scores = torch.bmm(query.flatten(0, 1), key.flatten(0, 1).mT).unflatten(0, query.shape[:2])
    weights = scores.add_(bias.unsqueeze(1)).softmax(-1)
    out: Tensor = torch.bmm(weights.flatten(0, 1), value.flatten(0, 1)).unflatten(0, query.shape[:2])
    return out


def _span_sizes(blocks: int, blocks_at_once: int | None) -> list[int]:
    step = blocks if blocks_at_once is None else blocks_at_once
    return [min(step, blocks - first) for first in range(0, blocks, step)]


def _band_bias(block: int, reach: int, window_size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """0 where a query of a block sees a token near it, else -inf: [1, block, (reach + 1) * block]."""
    query = torch.arange(block, device=device)[:, None] + reach * block
    key = torch.arange((reach + 1) * block, device=device)[None, :]
    hidden = (key > query) | (key <= query - window_size)
    return torch.zeros(hidden.shape, dtype=dtype, device=device).masked_fill_(hidden, -torch.inf).unsqueeze(0)


def _hide_missing(band: Tensor, blocks: int, missing: int) -> Tensor:
    """The band of each of `blocks` blocks without the first `missing` tokens of the first one's reach."""
    block, near = band.shape[-2:]
    token = torch.arange(blocks, device=band.device)[:, None, None] * block + torch.arange(near, device=band.device)
    return band.masked_fill(token < missing, -torch.inf)


def _join(state: WindowState, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    return torch.cat((state.keys.to(k.dtype), k), dim=1), torch.cat((state.values.to(v.dtype), v), dim=1)


def _last_tokens(keys: Tensor, values: Tensor, window_size: int) -> WindowState:
    first = max(0, keys.shape[1] - (window_size - 1))
    # Copies, so that a carried state does not keep the sequence that it was cut from alive.
    return WindowState(keys[:, first:].clone(), values[:, first:].clone())


def _check_inputs(
    q: Tensor, k: Tensor, v: Tensor, window_size: int, state: WindowState | None, block_size: int
) -> None:
    if window_size < 1:
        raise ValueError(f"window_size must be at least 1, got {window_size}")
    if block_size < 1:
        raise ValueError(f"block_size must be at least 1, got {block_size}")
    batch, _, heads, key_dim = check_shapes(q, k, v)
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        if not tensor.is_floating_point():
            raise ValueError(f"{name} must be a floating point tensor, got {tensor.dtype}")
    if state is None:
        return
    carried = state.keys.shape[1] if state.keys.dim() == 4 else 0
    for name, tensor, dim in (("keys", state.keys, key_dim), ("values", state.values, v.shape[-1])):
        if tensor.shape != (batch, carried, heads, dim):
            expected = f"[{batch}, tokens, {heads}, {dim}], as many tokens in keys as in values"
            raise ValueError(f"carried {name} must be {expected}, got {list(tensor.shape)}")
    if carried >= window_size:
        raise ValueError(f"a window of {window_size} carries at most {window_size - 1} tokens, got {carried}")
