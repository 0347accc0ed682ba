"""The algebra of the chunkwise gated delta rule, forward and backward, on one span of chunks.

Tensors are laid out [chunks, batch * heads, chunk_size, dim], so that a step of the scan reads contiguous memory and
everything else is one batched product over chunks and heads. Per chunk, with c the running sum of g inside it:

    Gamma_ij = exp(c_i - c_j) for i >= j, else 0
    M = (K K^T) o Gamma      A = strict_lower(diag(beta) M)      X = (I + A)^-1
    P = scale (Q K^T) o Gamma
    E = V - (K o e^c) S      N = X diag(beta) E                  O = scale (Q o e^c) S + P N
    S <- e^(c_C) S + (K o e^(c_C - c))^T N

K and Q are stacked ("rows"), since both meet the same keys and the same state: one product gives both sets of scores,
one gives both reads. Their signs and scales, [-1; scale], ride on the decays, so the result is [-M; P] and the
decayed reads of -K and scale Q, and the two halves are alike in the backward pass as well.

Source: Yang et al. 2024, arXiv:2412.06464, Sec. 3.3; the backward pass is derived by hand.
"""

from functools import lru_cache
from typing import NamedTuple, Self

import torch
from torch import Tensor

from cortexzoo.zoo.ops.unit_lower_inverse import unit_lower_inverse

MIN_LOG_DECAY = -40.0
"""Smaller log decays are raised to this: exp(-40) = 4e-18 is below the rounding of any dtype used here."""


class Tokens(NamedTuple):
    """Queries, keys and values, or their gradients, in the caller's layout [batch, time, heads, dim]."""

    q: Tensor
    k: Tensor
    v: Tensor


class Gates(NamedTuple):
    """All that the gates of a sequence decide, or the part of some chunks; each starts with [chunks, batch * heads]."""

    beta: Tensor  # [.., C]
    log_decay: Tensor  # [.., C]: c, float64
    read: Tensor  # [.., 2, C, 1]: -e^c, then scale e^c
    write: Tensor  # [.., C, 1]: e^(c_C - c)
    kept: Tensor  # [.., 1, 1]: e^(c_C)

    def of(self, chunks: slice) -> Self:
        """The gates of some chunks."""
        return type(self)(*(tensor[chunks] for tensor in self))


class Span(NamedTuple):
    """What the backward pass of a span needs besides its gates; each starts with [chunks, batch * heads]."""

    rows: Tensor  # [.., 2, C, K]: K, then Q
    gamma: Tensor  # [.., 2, C, C]: -Gamma without its diagonal, then scale Gamma with it
    products: Tensor  # [.., 2, C, C]: -M (strictly lower), then P
    inverse: Tensor  # [.., C, C]: X
    errors: Tensor  # [.., C, V]: E
    writes: Tensor  # [.., C, V]: N
    states: Tensor  # [chunks + 1, .., K, V]: S before each chunk, and after the last


def gates_of(g: Tensor, beta: Tensor, scale: float, chunk_size: int, dtype: torch.dtype) -> Gates:
    """Running sums of the log decay g [batch, time, heads] in each chunk, and the decays that follow from them."""
    log_decay = to_chunks(g, chunk_size, torch.float64).clamp_min(MIN_LOG_DECAY).cumsum(-1)
    from_start = log_decay.exp().to(dtype).unsqueeze(-1)
    to_end = (log_decay[..., -1:] - log_decay).exp_().to(dtype).unsqueeze(-1)
    read = torch.stack((-from_start, scale * from_start), dim=2)
    return Gates(to_chunks(beta, chunk_size, dtype), log_decay, read, to_end, from_start[:, :, -1:])


def span_forward(tokens: Tokens, gates: Gates, out: Tensor, scale: float, state: Tensor) -> Span:
    """Fills out [batch, time, heads, value_dim] for one span that starts from state [batch * heads, K, V]."""
    dtype = state.dtype
    chunks, batch_heads, chunk_size = gates.beta.shape
    rows = state.new_empty(chunks, batch_heads, 2, chunk_size, state.shape[1])
    load_chunks(tokens.k, rows[:, :, 0])
    load_chunks(tokens.q, rows[:, :, 1])
    keys = rows[:, :, 0]

    gamma = _pairwise_decay(gates.log_decay, scale, dtype)
    products = _bmm(rows.flatten(2, 3), keys.mT).view_as(gamma).mul_(gamma)
    lower = (products[:, :, 0] * -gates.beta.unsqueeze(-1)).flatten(0, 1)
    inverse = unit_lower_inverse(lower).view(chunks, batch_heads, chunk_size, chunk_size)
    reads = rows * gates.read

    states = state.new_empty(chunks + 1, *state.shape)
    states[0] = state
    errors = to_chunks(tokens.v, chunk_size, dtype)  # V, until the scan has subtracted the state's part
    writes = torch.empty_like(errors)
    for before, after, error, write, read, solve, write_key, keep in zip(
        states[:-1].unbind(),
        states[1:].unbind(),
        errors.unbind(),
        writes.unbind(),
        reads[:, :, 0].unbind(),
        (inverse * gates.beta.unsqueeze(-2)).unbind(),
        (keys * gates.write).mT.unbind(),
        gates.kept.unbind(),
        strict=True,
    ):
        error.baddbmm_(read, before)
        torch.bmm(solve, error, out=write)
        torch.mul(before, keep, out=after)
        after.baddbmm_(write_key, write)

    outputs = _bmm(reads[:, :, 1], states[:-1])
    outputs.flatten(0, 1).baddbmm_(products[:, :, 1].flatten(0, 1), writes.flatten(0, 1))
    store_chunks(outputs, out)
    return Span(rows, gamma, products, inverse, errors, writes, states)


def span_backward(
    span: Span, gates: Gates, d_out: Tensor, d_state: Tensor, d_tokens: Tokens, d_log_decay: Tensor, d_beta: Tensor
) -> Tensor:
    """Fills the gradients of a span's tokens and gates; returns that of the state it started from.

    d_state [batch * heads, K, V] is the gradient of the state that the span ended with; d_log_decay (of the running
    sums c) and d_beta are [chunks, batch * heads, C].
    """
    rows, gamma, products, inverse, errors, writes, states = span
    keys = rows[:, :, 0]
    reads = rows * gates.read
    write_keys = keys * gates.write

    # What meets the writes and the state from above: [dE; dO]. The scan fills in dE, which is also dV.
    upstream = writes.new_empty(*rows.shape[:-1], writes.shape[-1])
    load_chunks(d_out, upstream[:, :, 1])
    d_writes = _bmm(products[:, :, 1].mT, upstream[:, :, 1])
    d_read_states = _bmm(reads[:, :, 1].mT, upstream[:, :, 1])
    d_solved = torch.empty_like(writes)
    d_states = torch.empty_like(states)  # gradient of the state before each chunk, and after the last
    d_states[-1] = d_state
    steps = zip(
        d_states[:-1].unbind(),
        d_states[1:].unbind(),
        d_writes.unbind(),
        d_read_states.unbind(),
        d_solved.unbind(),
        upstream[:, :, 0].unbind(),
        write_keys.unbind(),
        inverse.mT.unbind(),
        gates.beta.unsqueeze(-1).unbind(),
        reads[:, :, 0].mT.unbind(),
        gates.kept.unbind(),
        strict=True,
    )
    for step in reversed(list(steps)):
        before, after, d_write, d_read, d_solve, d_error, write_key, solve, strength, read, keep = step
        d_write.baddbmm_(write_key, after)
        torch.bmm(solve, d_write, out=d_solve)
        torch.mul(d_solve, strength, out=d_error)
        torch.addcmul(d_read, after, keep, out=before)
        before.baddbmm_(read, d_error)

    both = upstream.flatten(2, 3)
    d_products = _bmm(both, writes.mT).view_as(products)
    d_reads = _bmm(both, states[:-1].mT).view_as(rows)
    d_write_keys = _bmm(writes, d_states[1:].mT)

    unsolved = torch.baddbmm(errors.flatten(0, 1), products[:, :, 0].flatten(0, 1), writes.flatten(0, 1))
    torch.sum(d_solved * unsolved.view_as(errors), -1, out=d_beta)

    by_pair = d_products * products
    by_write = (d_write_keys * write_keys).sum(-1)
    by_read = (d_reads * reads).sum(-1).sum(2)
    d_log_decay[:] = by_pair.sum(-1).sum(2) - by_pair.sum(2).sum(-2) + by_read - by_write
    by_state = (d_states[1:] * states[:-1]).sum((-2, -1))
    d_log_decay[..., -1] += by_write.sum(-1) + gates.kept[..., 0, 0] * by_state

    d_scores = d_products.mul_(gamma).flatten(2, 3)
    d_rows = _bmm(d_scores, keys).view_as(rows)
    d_rows += d_reads.mul_(gates.read)
    d_keys = _bmm(d_scores.mT, rows.flatten(2, 3))
    d_keys += d_write_keys.mul_(gates.write)
    d_keys += d_rows[:, :, 0]

    store_chunks(d_rows[:, :, 1], d_tokens.q)
    store_chunks(d_keys, d_tokens.k)
    store_chunks(upstream[:, :, 0], d_tokens.v)
    return d_states[0]


def to_chunks(tensor: Tensor, chunk_size: int, dtype: torch.dtype) -> Tensor:
    """[batch, time, heads, ...] as fresh memory [chunks, batch * heads, chunk_size, ...]."""
    batch, time, heads = tensor.shape[:3]
    chunked = tensor.new_empty(-(-time // chunk_size), batch * heads, chunk_size, *tensor.shape[3:], dtype=dtype)
    load_chunks(tensor, chunked)
    return chunked


def load_chunks(tensor: Tensor, chunked: Tensor) -> None:
    """Writes tensor [batch, time, heads, ...] into chunked [chunks, batch * heads, chunk_size, ...].

    The last chunk is filled up with zeros: a token whose g and beta are 0 neither decays the state nor writes to it.
    """
    tokens, whole, rest = _tokens_of(chunked, tensor)
    tokens[:, :whole] = tensor[:, : tensor.shape[1] - rest].unflatten(1, (whole, chunked.shape[2]))
    if rest:
        tokens[:, whole, :rest] = tensor[:, -rest:]
        tokens[:, whole, rest:] = 0.0


def store_chunks(chunked: Tensor, tensor: Tensor) -> None:
    """Writes chunked [chunks, batch * heads, chunk_size, ...] into tensor [batch, time, heads, ...]."""
    tokens, whole, rest = _tokens_of(chunked, tensor)
    tensor[:, : tensor.shape[1] - rest].unflatten(1, (whole, chunked.shape[2])).copy_(tokens[:, :whole])
    if rest:
        tensor[:, -rest:] = tokens[:, whole, :rest]


def _tokens_of(chunked: Tensor, tensor: Tensor) -> tuple[Tensor, int, int]:
    """A view of chunked, [batch, chunks, chunk_size, heads, ...], and the numbers of whole chunks and odd tokens."""
    tokens = chunked.unflatten(1, (tensor.shape[0], -1)).transpose(0, 1).transpose(2, 3)
    return tokens, *divmod(tensor.shape[1], chunked.shape[2])


def _pairwise_decay(log_decay: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    """-exp(c_i - c_j) for i > j, then scale exp(c_i - c_j) for i >= j, else 0: [chunks, batch * heads, 2, C, C].

    The difference is taken in float64 before the cast, since |c| reaches 40 C. Entries above the diagonal get exponent
    0 before the exp: exp(c_i - c_j) overflows there, and inf times the zero of a mask is NaN.
    """
    chunk_size = log_decay.shape[-1]
    inclusive, factors = _triangles(chunk_size, scale, dtype, log_decay.device)
    exponent = log_decay.new_empty(*log_decay.shape, chunk_size, dtype=dtype)
    torch.sub(log_decay.unsqueeze(-1), log_decay.unsqueeze(-2), out=exponent)
    return exponent.mul_(inclusive).exp_().unsqueeze(2) * factors


@lru_cache(maxsize=64)
def _triangles(size: int, scale: float, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    inclusive = torch.ones(size, size, dtype=dtype, device=device).tril()
    return inclusive, torch.stack((-inclusive.tril(-1), scale * inclusive))


def _bmm(left: Tensor, right: Tensor) -> Tensor:
    """Product over the two leading dimensions of both."""
    product: Tensor = torch.bmm(left.flatten(0, 1), right.flatten(0, 1)).unflatten(0, left.shape[:2])
    return product
