"""The gated delta rule, chunkwise and one token at a time."""

import warnings
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from cortexzoo.zoo.ops import compiled
from cortexzoo.zoo.ops.gated_delta_chunks import (
    MIN_LOG_DECAY,
    Gates,
    Span,
    Tokens,
    gates_of,
    span_backward,
    span_forward,
    store_chunks,
)
from cortexzoo.zoo.ops.precision import compute_dtype, full_precision
from cortexzoo.zoo.ops.recurrent_gated_delta import check_gated_delta_inputs, recurrent_gated_delta_rule
from cortexzoo.zoo.ops.spans import blocks_in_span


def chunk_gated_delta_rule(
    q: Float[Tensor, "batch time heads key_dim"],
    k: Float[Tensor, "batch time heads key_dim"],
    v: Float[Tensor, "batch time heads value_dim"],
    g: Float[Tensor, "batch time heads"],
    beta: Float[Tensor, "batch time heads"],
    scale: float | None = None,
    initial_state: Float[Tensor, "batch heads key_dim value_dim"] | None = None,
    output_final_state: bool = False,
    chunk_size: int = 32,
) -> tuple[
    Float[Tensor, "batch time heads value_dim"],
    Float[Tensor, "batch heads key_dim value_dim"] | None,
]:
    """Outputs and final state of the gated delta rule, in parallel inside chunks of chunk_size tokens.

        S <- exp(g_t) S
        S <- S + beta_t k_t (v_t - S^T k_t)^T
        o_t = scale S^T q_t                       scale = key_dim^(-1/2) unless given

    Source: Yang et al. 2024, arXiv:2412.06464, Eq. 10, in the chunkwise form of its Sec. 3.3.
    Differs: log decays below -40 count as -40 and get no gradient; the triangular system is inverted by blocks; the
    backward pass is written out instead of traced, so it has no second derivative.

    g is the log decay, in [-inf, 0]. With unit keys and beta in [0, 1] the state's squared norm grows by at most
    beta |v|^2 a token, in [0, 2] its norm by at most beta |v|; beyond, it may explode. Neither is checked, since
    reading values would wait for the device. q and k are not normalised here. Inside, everything is float32 or wider,
    autocast or not; the output has v's dtype, the state the wider one. With CORTEXZOO_KERNELS=1 a compiled kernel
    computes float32 on the CPU where nothing is differentiated, with other rounding. On CUDA, half precision goes to
    the kernels of fla-core where that is installed and works on the card; its chunk size is its own.

    Raises ValueError if shapes or dtypes do not fit together, or if chunk_size < 1.
    """
    check_gated_delta_inputs(q, k, v, g, beta, initial_state, chunk_size)
    scale = k.shape[-1] ** -0.5 if scale is None else scale
    # Inside forward the grad mode is off, so whether anything will be differentiated is an argument.
    tensors = (q, k, v, g, beta, initial_state)
    keep = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    kernel = _fla_kernel(q.device, keep) if _suits_fla(q, k, v) else None
    if kernel is not None:
        state = None if initial_state is None else initial_state.float()
        out, final_state = kernel(
            q, k, v, g.float().clamp_min(MIN_LOG_DECAY), beta, scale=scale, initial_state=state, output_final_state=True
        )
    elif k.shape[1] == 1 and not torch.is_grad_enabled():
        # A text that is generated comes one token at a time: there is nothing to do in parallel, and no gradient.
        return recurrent_gated_delta_rule(
            q, k, v, g.clamp_min(MIN_LOG_DECAY), beta, scale, initial_state, output_final_state
        )
    elif not keep and compiled.takes(*tensors):
        shape = (k.shape[0], *k.shape[2:], v.shape[-1])
        state = k.new_zeros(shape) if initial_state is None else initial_state
        out, final_state = compiled.gated_delta_forward(q, k, v, g, beta, state, scale, chunk_size)
    else:
        inputs = (q, k, v, g, beta, initial_state, scale, chunk_size, keep)
        out, final_state = _ChunkGatedDeltaRule.apply(*inputs)  # type: ignore[no-untyped-call]
    return out, final_state if output_final_state else None


class _ChunkGatedDeltaRule(torch.autograd.Function):
    """Runs spans of chunks one after the other, handing the state on, and back again for the gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        g: Tensor,
        beta: Tensor,
        initial_state: Tensor | None,
        scale: float,
        chunk_size: int,
        keep: bool,
    ) -> tuple[Tensor, Tensor]:
        batch, time, heads, key_dim = k.shape
        dtype = compute_dtype(q, k, v)
        if initial_state is None:
            state = k.new_zeros(batch * heads, key_dim, v.shape[-1], dtype=dtype)
        else:
            state = initial_state.to(dtype, copy=True).flatten(0, 1)
        out = torch.empty_like(v, memory_format=torch.contiguous_format)
        tokens, saved = Tokens(q, k, v), list[Tensor]()
        with full_precision(q.device):
            gates = gates_of(g, beta, scale, chunk_size, dtype)
            for chunks, times in _spans(time, batch * heads, chunk_size, q.device):
                span = span_forward(_cut(tokens, times), gates.of(chunks), out[:, times], scale, state)
                state = span.states[-1].clone()  # a view would keep all the others alive
                if keep:
                    saved.extend(span)
                del span  # so that the next span gets this one's memory, which is in the cache
        if keep:
            ctx.save_for_backward(*tokens, g, beta, *gates, *saved)
            ctx.chunk_size = chunk_size
            ctx.state_dtype = None if initial_state is None else initial_state.dtype
            ctx.set_materialize_grads(False)
        return out, state.unflatten(0, (batch, heads))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor | None, d_state: Tensor | None) -> tuple[Tensor | None, ...]:
        q, k, v, g, beta, *tensors = ctx.saved_tensors
        gates, saved = Gates(*tensors[: len(Gates._fields)]), tensors[len(Gates._fields) :]
        batch, time, heads, key_dim = k.shape
        dtype = gates.beta.dtype
        d_out = torch.zeros_like(v) if d_out is None else d_out
        if d_state is None:
            carried = k.new_zeros(batch * heads, key_dim, v.shape[-1], dtype=dtype)
        else:
            carried = d_state.to(dtype).flatten(0, 1)
        d_tokens = Tokens(*(torch.empty_like(t, memory_format=torch.contiguous_format) for t in (q, k, v)))
        d_g, d_beta = (torch.empty_like(t, memory_format=torch.contiguous_format) for t in (g, beta))
        d_log_decay, d_strength = torch.empty_like(gates.beta), torch.empty_like(gates.beta)
        spans = _spans(time, batch * heads, ctx.chunk_size, k.device)
        with full_precision(k.device):
            for chunks, times in reversed(spans):
                span, saved = Span(*saved[-len(Span._fields) :]), saved[: -len(Span._fields)]
                d_gates = (d_log_decay[chunks], d_strength[chunks])
                carried = span_backward(
                    span, gates.of(chunks), d_out[:, times], carried, _cut(d_tokens, times), *d_gates
                )
        store_chunks(d_log_decay.flip(-1).cumsum(-1).flip(-1), d_g)
        store_chunks(d_strength, d_beta)
        d_g.masked_fill_(g < MIN_LOG_DECAY, 0.0)
        d_initial = None
        if ctx.state_dtype is not None:
            d_initial = carried.to(ctx.state_dtype, copy=True).unflatten(0, (batch, heads))
        return (*d_tokens, d_g, d_beta, d_initial, None, None, None)


def _spans(time: int, batch_heads: int, chunk_size: int, device: torch.device) -> list[tuple[slice, slice]]:
    """The chunks of each span, and its tokens."""
    total = -(-time // chunk_size)
    step = blocks_in_span(chunk_size, batch_heads, device) or max(1, total)
    chunks = [slice(first, min(first + step, total)) for first in range(0, total, step)]
    return [(span, slice(span.start * chunk_size, min(span.stop * chunk_size, time))) for span in chunks]


def _cut(tokens: Tokens, times: slice) -> Tokens:
    return Tokens(*(tensor[:, times] for tensor in tokens))


def _suits_fla(q: Tensor, k: Tensor, v: Tensor) -> bool:
    """Whether fla-core's kernels take these: one half precision dtype, on CUDA, at least one token, 256 dimensions."""
    one_half_dtype = q.dtype == k.dtype == v.dtype and q.dtype in (torch.bfloat16, torch.float16)
    return q.is_cuda and one_half_dtype and q.shape[1] > 0 and q.shape[-1] <= 256


@cache
def _fla_kernel(device: torch.device, backward: bool) -> Callable[..., tuple[Tensor, Tensor]] | None:
    """fla-core's chunk kernel, or None, with a warning, where it is not installed or does not work.

    It refuses some pairs of Triton version and card, and some of them only in its backward pass, so it is tried once a
    device, with and without that. Imported late: it needs Triton.
    """
    if find_spec("fla") is None or find_spec("triton") is None or (backward and _fla_kernel(device, False) is None):
        return None
    try:
        from fla.ops.gated_delta_rule import chunk_gated_delta_rule as kernel

        with torch.set_grad_enabled(backward):
            ones = torch.ones(1, 2, 1, 16, device=device, dtype=torch.bfloat16, requires_grad=backward)
            gate = torch.zeros(1, 2, 1, device=device)
            out, _ = kernel(ones, ones, ones, gate, gate, scale=1.0, initial_state=None, output_final_state=True)
            if backward:
                torch.autograd.grad(out.sum(), ones)
    except Exception as error:  # whatever it raises, our own form works
        reason = " ".join(str(error).split()) or type(error).__name__
        where = f"for gradients on {device}" if backward else f"on {device}"
        warnings.warn(f"fla-core's kernel is not used {where}: {reason}", RuntimeWarning, stacklevel=3)
        return None
    return kernel  # type: ignore[no-any-return]
