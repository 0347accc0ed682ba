"""A sidecar's step while a text is generated: one token at a time, weights that do not change, few calls of torch."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from cortexzoo.specs.mixer import MixerSpec
from cortexzoo.zoo.models.hybrid.delta_memory import Gates
from cortexzoo.zoo.models.hybrid.state import SidecarState


@dataclass(frozen=True)
class FoldedWeights:
    """The weights of a sidecar without a slow store, laid together: `step` is `Sidecar.forward` of one token.

    What it gives differs in rounding. Nothing is differentiated.
    """

    spec: MixerSpec
    gates: Gates
    into: Float[Tensor, "hidden projected"]
    """Queries, keys, values, decays, write strengths and what is hidden of these in one product."""
    bias: Float[Tensor, " projected"]
    from_hidden: Float[Tensor, "width heads"]
    taps: Float[Tensor, "lags channels"]
    """The oldest token first."""
    sharpness: Float[Tensor, "heads one"]
    gate: Float[Tensor, "both heads"]
    gate_bias: Float[Tensor, " heads"]
    out: Float[Tensor, "inner hidden"]
    neighbours: Int[Tensor, "products dim"]
    """Which channels of a key each channel is multiplied with."""
    read_out_scale: Float[Tensor, " dim"]
    """That of RMSNorm, times the root of the number of channels."""
    read_out_least: Float[Tensor, ""]
    unit_least: Float[Tensor, ""]
    """Roots of what is added to squared norms."""

    def step(
        self, x: Float[Tensor, "batch hidden"], state: SidecarState
    ) -> tuple[Float[Tensor, "batch hidden"], SidecarState]:
        """What to add for one token, and the memory afterwards."""
        heads, dim = self.spec.num_heads, self.spec.head_dim
        inner = heads * dim
        projected = torch.addmm(self.bias, x, self.into)
        near = torch.cat([state.conv_state, projected[:, None, : 3 * inner]], dim=1)
        q_k_v = F.silu((near * self.taps).sum(1)).view(-1, 3, heads, dim)
        v = q_k_v[:, 2]
        q_k = self._unit(q_k_v[:, :2])
        q, k = q_k.unbind(1)
        keys = torch.cat([state.window_keys, k[:, None]], dim=1)
        values = torch.cat([state.window_values, v[:, None]], dim=1)
        sharp = (q * self.sharpness)[:, :, None]
        attention = F.scaled_dot_product_attention(sharp, keys.transpose(1, 2), values.transpose(1, 2), scale=1.0)
        if self.spec.key_products:
            q_k = self._unit((q_k[..., None, :] * q_k[..., self.neighbours]).flatten(-2))
        asked, stored = q_k[..., None, :].unbind(1)  # [B, H, 1, K]
        gates = projected[:, 3 * inner : 3 * inner + 2 * heads]
        if self.spec.write_width:
            gates[:, heads:].addmm_(F.silu(projected[:, 3 * inner + 2 * heads :]), self.from_hidden)
        decay, beta = gates.sigmoid().view(-1, 2, heads, 1, 1).unbind(1)  # [B, H, 1, 1]
        faded = state.fast_weights * decay
        error = (v[:, :, None] - stored @ faded) * self.gates.strength(beta)
        fast_weights = torch.addcmul(faded, stored.mT, error)
        read = asked @ fast_weights
        memory = read * self.read_out_scale / _norm(read, self.read_out_least)
        share = torch.addmm(self.gate_bias, torch.cat([attention, memory], dim=-1).flatten(1), self.gate).sigmoid()
        mixed = torch.lerp(memory, attention, share[..., None, None]).flatten(1)
        kept = self.spec.window_size - 1
        first = max(0, keys.shape[1] - kept)
        after = SidecarState(fast_weights, near[:, 1:], keys[:, first:], values[:, first:], state.expected)
        return mixed @ self.out, after

    def _unit(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return x / _norm(x, self.unit_least)


def _norm(x: Float[Tensor, "*batch dim"], least: Float[Tensor, ""]) -> Float[Tensor, "*batch one"]:
    """sqrt(|x|² + least²), in half as many operations."""
    return torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True), least)
