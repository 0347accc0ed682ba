"""The gated delta rule token by token: the oracle of every faster form, and the shapes that all forms share."""

import torch
from jaxtyping import Float
from torch import Tensor

from cortexzoo.zoo.ops.precision import compute_dtype
from cortexzoo.zoo.ops.shapes import check_shapes


def recurrent_gated_delta_rule(
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
    """Outputs and final state of the gated delta rule, one token after the other.

        S <- exp(g_t) S
        S <- S + beta_t k_t (v_t - S^T k_t)^T
        o_t = scale S^T q_t                       scale = key_dim^(-1/2) unless given

    Source: Yang et al. 2024, arXiv:2412.06464, Eq. 10.
    Differs: the state is [key_dim, value_dim], the transpose of the paper's, and outputs carry a scale.

    Computes in the dtype of q, k and v, but never below float32; the state has that dtype and the output has v's.
    g is the log decay, in [-inf, 0]. The state is bounded for unit keys and beta in [0, 2]; neither is checked, since
    reading values would wait for the device. chunk_size changes nothing here: it makes the two forms interchangeable.

    Raises ValueError if shapes or dtypes do not fit together.
    """
    check_gated_delta_inputs(q, k, v, g, beta, initial_state, chunk_size)
    dtype = compute_dtype(q, k, v)
    scale = k.shape[-1] ** -0.5 if scale is None else scale
    batch, time, heads, key_dim = k.shape
    if initial_state is None:
        state = k.new_zeros(batch, heads, key_dim, v.shape[-1], dtype=dtype)
    else:
        state = initial_state.to(dtype, copy=True)
    q, k, values, decay, strength = q.to(dtype) * scale, k.to(dtype), v.to(dtype), g.to(dtype).exp(), beta.to(dtype)
    # Products and sums instead of matmul: autocast would turn a matmul into one of lower precision.
    outputs = []
    for t in range(time):
        state = decay[:, t, :, None, None] * state
        key = k[:, t, :, :, None]
        error = values[:, t] - (key * state).sum(-2)
        state = state + strength[:, t, :, None, None] * key * error[:, :, None, :]
        outputs.append((q[:, t, :, :, None] * state).sum(-2))
    out = torch.stack(outputs, dim=1) if outputs else torch.zeros_like(values)
    return out.to(v.dtype), state if output_final_state else None


def check_gated_delta_inputs(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, initial_state: Tensor | None, chunk_size: int
) -> None:
    """Raises ValueError, in one line, unless the inputs of a gated delta rule fit together."""
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, got {chunk_size}")
    batch, time, heads, key_dim = check_shapes(q, k, v)
    for name, gate in (("g", g), ("beta", beta)):
        if gate.shape != q.shape[:3]:
            raise ValueError(f"{name} must be [{batch}, {time}, {heads}] to match q, got {list(gate.shape)}")
    state_shape = (batch, heads, key_dim, v.shape[-1])
    if initial_state is not None and initial_state.shape != state_shape:
        raise ValueError(f"initial_state must be {list(state_shape)}, got {list(initial_state.shape)}")
    tensors = {"q": q, "k": k, "v": v, "g": g, "beta": beta, "initial_state": initial_state}
    for name, tensor in tensors.items():
        if tensor is not None and not tensor.is_floating_point():
            raise ValueError(f"{name} must be a floating point tensor, got {tensor.dtype}")
