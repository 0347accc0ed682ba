"""The sidecar token by token, written out: the oracle of `Sidecar`."""

from collections.abc import Collection
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from cortexzoo.zoo.models.hybrid.block import FAST_WEIGHTS, WINDOW, Sidecar
from cortexzoo.zoo.models.hybrid.delta_memory import READ_OUT_EPS
from cortexzoo.zoo.models.hybrid.state import SidecarState
from cortexzoo.zoo.models.hybrid.unit import UNIT_EPS
from cortexzoo.zoo.ops.recurrent_gated_delta import recurrent_gated_delta_rule
from cortexzoo.zoo.ops.sliding_window import masked_window_attention


def sidecar_token_loop(
    sidecar: Sidecar,
    x: Float[Tensor, "batch time hidden"],
    state: SidecarState,
    disabled: Collection[str] = (),
) -> tuple[Float[Tensor, "batch time hidden"], SidecarState, dict[str, Float[Tensor, " batch"]]]:
    """What `Sidecar` gives for `x`, one token after the other; readings of each row alone."""
    outputs, readings = [], []
    for token in x.unbind(1):
        out, after, measured = _step(sidecar, token, state, disabled)
        state = _kept(state, after, disabled)
        outputs.append(out)
        readings.append(measured)
    means = {name: torch.stack([each[name] for each in readings]).mean(0) for name in readings[0]}
    means["memory/state_norm"] = state.fast_weights.detach().square().sum((1, 2, 3)).sqrt()
    return torch.stack(outputs, dim=1), state, means


def _kept(before: SidecarState, after: SidecarState, disabled: Collection[str]) -> SidecarState:
    """What is switched off stays as it was."""
    if FAST_WEIGHTS in disabled:
        after = replace(after, fast_weights=before.fast_weights)
    if WINDOW in disabled:
        after = replace(after, window_keys=before.window_keys, window_values=before.window_values)
    return after


def _step(
    sidecar: Sidecar, x: Float[Tensor, "batch hidden"], state: SidecarState, disabled: Collection[str]
) -> tuple[Float[Tensor, "batch hidden"], SidecarState, dict[str, Float[Tensor, " batch"]]]:
    spec, weights = sidecar.spec, sidecar.conv.weight
    projected = torch.cat([x @ w.weight.T for w in (sidecar.query, sidecar.key, sidecar.value)], dim=-1)
    newest_first = torch.stack([projected, *reversed(state.conv_state.unbind(1))], dim=1)  # [B, kernel, channels]
    q, k, v = F.silu((newest_first * weights.T).sum(1)).chunk(3, dim=-1)
    q, k, v = (part.unflatten(-1, (1, spec.num_heads, spec.head_dim)) for part in (q, k, v))  # [B, 1, H, K]
    q = q / (q.square().sum(-1, keepdim=True) + UNIT_EPS).sqrt()
    k = k / (k.square().sum(-1, keepdim=True) + UNIT_EPS).sqrt()

    sharp = q * sidecar.sharpness.exp()[:, None]
    attention, window = masked_window_attention(
        sharp, k, v, spec.window_size, 1.0, state.window, output_final_state=True
    )
    gates = sidecar.memory.gates
    log_decay = F.logsigmoid(F.linear(x, gates.decay.weight, gates.decay.bias))
    wanted = F.linear(x, gates.write.weight, gates.write.bias)
    if gates.write_hidden is not None and gates.write_from_hidden is not None:
        hidden = F.linear(x, gates.write_hidden.weight, gates.write_hidden.bias)
        wanted = wanted + (hidden * hidden.sigmoid()) @ gates.write_from_hidden.weight.T
    wanted = wanted.sigmoid()
    least = spec.write_threshold
    strongest = 2 if spec.negative_eigenvalues else 1
    beta = strongest * torch.where(wanted > least, (wanted - least) / (1 - least), 0)
    neighbours = [(i, (i + j) % spec.head_dim) for j in range(1, spec.key_products + 1) for i in range(spec.head_dim)]
    if neighbours:
        one, other = torch.tensor(neighbours).unbind(1)
        q, k = (part[..., one] * part[..., other] for part in (q, k))
        q = q / (q.square().sum(-1, keepdim=True) + UNIT_EPS).sqrt()
        k = k / (k.square().sum(-1, keepdim=True) + UNIT_EPS).sqrt()
    written, known, expected = v, None, state.expected
    if sidecar.slow_store is not None:
        assert expected is not None
        known = sidecar.slow_store(q)  # [B, 1, inner]
        written, expected = v - expected.reshape(v.shape), known[:, 0]
    read, fast_weights = recurrent_gated_delta_rule(
        q, k, written, log_decay[:, None], beta[:, None], 1.0, state.fast_weights, output_final_state=True
    )
    assert window is not None and fast_weights is not None
    if known is not None and sidecar.slow_store is not None:
        read = read + sidecar.slow_store.spec.gain * known.reshape(v.shape)
    if FAST_WEIGHTS in disabled:
        read = torch.zeros_like(read)
    if WINDOW in disabled:
        attention = torch.zeros_like(attention)
    memory = read / (read.square().mean(-1, keepdim=True) + READ_OUT_EPS).sqrt() * sidecar.memory.read_out_scale

    both = torch.cat([attention, memory], dim=-1).flatten(1)
    share = F.linear(both, sidecar.gate.weight, sidecar.gate.bias).sigmoid()[:, None, :, None]
    mixed = share * attention + (1 - share) * memory
    conv_state = newest_first[:, : spec.conv.kernel_size - 1].flip(1)
    after = SidecarState(fast_weights, conv_state, window.keys, window.values, expected)
    readings = {
        "memory/decay": log_decay.exp().mean(-1),
        "memory/write_strength": beta.mean(-1),
        "memory/gate_mean": share.flatten(1).mean(-1),
    }
    return mixed.flatten(1) @ sidecar.output.weight.T, after, {n: value.detach() for n, value in readings.items()}
