"""A sidecar: what one decoder layer of a frozen base is given beside itself."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cortexzoo.specs.mixer import MixerSpec
from cortexzoo.specs.slow_store import ProductStore
from cortexzoo.zoo.models.hybrid.delta_memory import READ_OUT_EPS, DeltaMemory
from cortexzoo.zoo.models.hybrid.one_token import FoldedWeights
from cortexzoo.zoo.models.hybrid.precision import wide_dtype, wide_linear, widened
from cortexzoo.zoo.models.hybrid.short_conv import ShortConv
from cortexzoo.zoo.models.hybrid.slow_store import SlowStore
from cortexzoo.zoo.models.hybrid.state import SidecarState
from cortexzoo.zoo.models.hybrid.unit import UNIT_EPS, unit
from cortexzoo.zoo.ops.precision import autocast_is_on, full_precision
from cortexzoo.zoo.ops.sliding_window import sliding_window_attention

FAST_WEIGHTS = "fast_weights"
WINDOW = "window"
SLOW_STORE = "slow_store"

SHARPNESS_INIT = 2.0
"""At the start scores are exp(this) = 7.4 times a cosine: an exact match outweighs 128 strangers about 10 to 1."""


class Sidecar(nn.Module):
    """out = W_o (g * attention + (1 - g) * memory),  g = sigmoid(W_g [attention; memory] + b), one for each head.

    Attention over a sliding window and the gated delta memory share queries, keys and values: projections of x, then a
    short convolution, queries and keys of unit length; the memory may take `products` of these. W_q starts equal to
    W_k, so that what is stored under a token is found by it, and W_o at zero, so that the base is unchanged until
    something is learned.

    One sidecar of a hybrid may have a slow store. Its answer joins that of the memory, and what it expects of a token
    is not written by the memory again: fast weights learn what differs, so that a fact bound anew is read as it is now.
    """

    def __init__(self, spec: MixerSpec, hidden_size: int, slow_store: ProductStore | None = None) -> None:
        super().__init__()
        inner = spec.num_heads * spec.head_dim
        self.spec = spec
        self.query = nn.Linear(hidden_size, inner, bias=False)
        self.key = nn.Linear(hidden_size, inner, bias=False)
        self.value = nn.Linear(hidden_size, inner, bias=False)
        self.conv = ShortConv(spec)
        self.sharpness = nn.Parameter(torch.full((spec.num_heads,), SHARPNESS_INIT))
        self.memory = DeltaMemory(spec, hidden_size)
        self.slow_store: SlowStore | None = None
        if slow_store is not None:
            self.slow_store = SlowStore(slow_store, spec.num_heads * spec.memory_key_dim, inner)
        self.gate = nn.Linear(2 * inner, spec.num_heads)
        self.output = nn.Linear(inner, hidden_size, bias=False)
        self._folded: FoldedWeights | None = None
        with torch.no_grad():
            self.query.weight.copy_(self.key.weight)
            self.gate.bias.fill_(spec.gate_bias)
            self.output.weight.zero_()

    def initial_state(self, batch_size: int) -> SidecarState:
        """An empty memory on the weights' device."""
        spec, like = self.spec, self.output.weight
        like = like.new_zeros(0, dtype=wide_dtype(like))
        fast_weights = like.new_zeros(batch_size, spec.num_heads, spec.memory_key_dim, spec.head_dim)
        conv_state = like.new_zeros(batch_size, spec.conv.kernel_size - 1, 3 * spec.num_heads * spec.head_dim)
        held = like.new_zeros(batch_size, 0, spec.num_heads, spec.head_dim)
        outputs = spec.num_heads * spec.head_dim
        expected = None if self.slow_store is None else like.new_zeros(batch_size, outputs)
        return SidecarState(fast_weights, conv_state, held, held, expected)

    def forward(
        self, x: Float[Tensor, "batch time hidden"], state: SidecarState, disabled: Collection[str] = ()
    ) -> tuple[Float[Tensor, "batch time hidden"], SidecarState, dict[str, Tensor]]:
        """What to add to the layer's output, the memory afterwards, and readings of it.

        Without "window" or "fast_weights" that part gives zeros and its memory stays as it is; without "slow_store"
        the fast weights alone answer. Where weights are `fixed`, a token that takes the short way gives no
        readings.
        """
        if self._folded is not None and x.shape[1] == 1 and not disabled and not autocast_is_on(x.device):
            step, after = self._folded.step(x[:, 0].to(self._folded.into.dtype), state)
            return step[:, None].to(x.dtype), after, {}
        with full_precision(x.device):
            out, after, readings = self._forward(widened(x, self.output.weight), state, disabled)
        return out.to(x.dtype), after, readings

    @contextmanager
    def fixed(self) -> Iterator[None]:
        """No weight changes inside, and nothing made inside is differentiated: single tokens take the short way.

        Not with a slow store, with a memory switched off, or under autocast.
        """
        if self.slow_store is None:
            self._folded = self._laid_together()
        try:
            yield
        finally:
            self._folded = None

    @torch.no_grad()
    def _laid_together(self) -> FoldedWeights:
        dtype, gates = wide_dtype(self.output.weight), self.memory.gates
        linears = [self.query, self.key, self.value, gates.decay, gates.write]
        from_hidden = gates.decay.weight.new_zeros(0, self.spec.num_heads)
        if gates.write_hidden is not None and gates.write_from_hidden is not None:
            linears.append(gates.write_hidden)
            from_hidden = gates.write_from_hidden.weight.T
        inner = self.output.weight.new_zeros(3 * self.output.in_features)
        dim, scale = self.spec.head_dim, self.memory.read_out_scale.to(dtype)
        channels = torch.arange(dim, device=scale.device)
        return FoldedWeights(
            self.spec,
            gates,
            into=torch.cat([linear.weight for linear in linears]).to(dtype).T.contiguous(),
            bias=torch.cat([inner, *(linear.bias for linear in linears[3:])]).to(dtype),
            from_hidden=from_hidden.to(dtype),
            taps=self.conv.weight.to(dtype).flip(1).T.contiguous(),
            sharpness=self.sharpness.to(dtype).exp()[:, None],
            gate=self.gate.weight.to(dtype).T.contiguous(),
            gate_bias=self.gate.bias.to(dtype),
            out=self.output.weight.to(dtype).T.contiguous(),
            neighbours=torch.stack([channels.roll(-j) for j in range(1, self.spec.key_products + 1)] or [channels]),
            read_out_scale=scale * dim**0.5,
            read_out_least=scale.new_tensor((READ_OUT_EPS * dim) ** 0.5),
            unit_least=scale.new_tensor(UNIT_EPS**0.5),
        )

    def _forward(
        self, x: Float[Tensor, "batch time hidden"], state: SidecarState, disabled: Collection[str]
    ) -> tuple[Float[Tensor, "batch time hidden"], SidecarState, dict[str, Tensor]]:
        q, k, v, conv_state = self.queries_keys_values(x, state.conv_state)
        attention = memory = torch.zeros_like(v)
        window, fast_weights = state.window, state.fast_weights
        readings: dict[str, Tensor] = {}
        if WINDOW not in disabled:
            sharp = q * self.sharpness.to(q.dtype).exp().unsqueeze(-1)
            attention, carried = sliding_window_attention(
                sharp, k, v, self.spec.window_size, 1.0, window, output_final_state=True
            )
            assert carried is not None
            window = carried
        asked, stored = (products(part, self.spec.key_products) for part in (q, k))
        written, known, expected = v, None, state.expected
        if self.slow_store is not None and SLOW_STORE not in disabled:
            assert expected is not None, "every sidecar with a slow store begins with what it expects"
            known = self.slow_store(asked)
            before = torch.cat([expected.unsqueeze(1).to(known.dtype), known], dim=1)
            written, expected = v - before[:, :-1].reshape(v.shape), before[:, -1]
        if FAST_WEIGHTS not in disabled:
            memory, fast_weights, readings = self.memory(asked, stored, written, x, fast_weights)
        if self.slow_store is not None and known is not None:
            memory = memory + self.slow_store.spec.gain * known.reshape(v.shape)
        memory = self.memory.normalise(memory)
        mixed, gate = self.mix(attention, memory)
        readings["memory/gate_mean"] = gate.detach().mean()
        return (
            wide_linear(self.output, mixed),
            SidecarState(fast_weights, conv_state, window.keys, window.values, expected),
            readings,
        )

    def queries_keys_values(
        self, x: Float[Tensor, "batch time hidden"], conv_state: Float[Tensor, "batch lags channels"]
    ) -> tuple[Tensor, Tensor, Tensor, Float[Tensor, "batch lags channels"]]:
        """Convolved q and k of unit length and v, each [batch, time, heads, head_dim]; and the conv's last inputs."""
        projected = torch.cat([wide_linear(linear, x) for linear in (self.query, self.key, self.value)], dim=-1)
        convolved, conv_state = self.conv(projected, conv_state)
        q, k, v = convolved.unflatten(-1, (3, self.spec.num_heads, -1)).unbind(2)
        return unit(q), unit(k), v, conv_state

    def mix(
        self,
        attention: Float[Tensor, "batch time heads value_dim"],
        memory: Float[Tensor, "batch time heads value_dim"],
    ) -> tuple[Float[Tensor, "batch time inner"], Float[Tensor, "batch time heads"]]:
        """Both parts by the gate's shares, heads beside each other; and the gate itself."""
        gate = wide_linear(self.gate, torch.cat([attention, memory], dim=-1).flatten(2)).sigmoid()
        share = gate.unsqueeze(-1)
        return (share * attention + (1 - share) * memory).flatten(2), gate


def products(x: Float[Tensor, "*batch dim"], neighbours: int) -> Float[Tensor, "*batch products"]:
    """x_i * x_(i+j) for j = 1 ... neighbours, i + j modulo dim, of unit length; for no neighbours x itself.

    Two vectors that agree in a share s of what they are made of have a cosine of about s, their products one of s^2.

    Source: Schlag et al. 2021, arXiv:2102.11174, Sec. 5.3 (DPFP).
    Differs: x is not split into its positive and its negative part before.
    """
    if neighbours == 0:
        return x
    return unit(torch.cat([x * x.roll(-j, dims=-1) for j in range(1, neighbours + 1)], dim=-1))
