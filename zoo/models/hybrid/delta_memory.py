"""The gated delta memory of a sidecar: fast weights that every token fades, corrects and reads."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from cortexzoo.specs.mixer import MixerSpec
from cortexzoo.zoo.models.hybrid.precision import wide_linear
from cortexzoo.zoo.ops.gated_delta import chunk_gated_delta_rule

READ_OUT_EPS = 1e-6


class Gates(nn.Module):
    """How much of the memory each token leaves and how strongly it writes, one of each for every head.

        log_decay = log sigmoid(W_a x + a)        beta = max(0, sigmoid(W_b x + b + U silu(V x + c)) - t) / (1 - t)

    and twice that beta with negative eigenvalues. V has `write_width` rows; with 0 of them there is no such term. W_a
    and U start at zero, so that at first every token fades the memory by its head's bias alone. A write threshold
    t > 0 lets a token write nothing at all: a sigmoid alone always writes a little, and the gradient that would teach
    it to write less vanishes with what it writes.
    """

    def __init__(self, spec: MixerSpec, hidden_size: int) -> None:
        super().__init__()
        self.decay = nn.Linear(hidden_size, spec.num_heads)
        self.write = nn.Linear(hidden_size, spec.num_heads)
        self.write_hidden: nn.Linear | None = None
        self.write_from_hidden: nn.Linear | None = None
        if spec.write_width:
            self.write_hidden = nn.Linear(hidden_size, spec.write_width)
            self.write_from_hidden = nn.Linear(spec.write_width, spec.num_heads, bias=False)
            nn.init.zeros_(self.write_from_hidden.weight)
        self.strongest_write = 2.0 if spec.negative_eigenvalues else 1.0
        self.write_threshold = spec.write_threshold
        with torch.no_grad():
            self.decay.weight.zero_()
            self.decay.bias.copy_(torch.tensor(spec.decay.biases(spec.num_heads)))
            self.write.bias.fill_(spec.write_bias)

    def forward(
        self, x: Float[Tensor, "batch time hidden"]
    ) -> tuple[Float[Tensor, "batch time heads"], Float[Tensor, "batch time heads"]]:
        """log_decay and beta."""
        log_decay = F.logsigmoid(wide_linear(self.decay, x))
        write = wide_linear(self.write, x)
        if self.write_hidden is not None and self.write_from_hidden is not None:
            write = write + wide_linear(self.write_from_hidden, F.silu(wide_linear(self.write_hidden, x)))
        return log_decay, self.strength(write.sigmoid())

    def strength(self, write: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """beta, from the sigmoid above."""
        if self.write_threshold > 0:
            write = (write - self.write_threshold).relu() / (1 - self.write_threshold)
        return write if self.strongest_write == 1 else self.strongest_write * write


class DeltaMemory(nn.Module):
    """Reads and writes the fast weights; what is read is normalised by `normalise`, RMSNorm(S^T q) for each head.

    Source: Yang et al. 2024, arXiv:2412.06464, Sec. 3.4 (the token mixer). Differs: no output gate.
    """

    def __init__(self, spec: MixerSpec, hidden_size: int) -> None:
        super().__init__()
        self.gates = Gates(spec, hidden_size)
        self.read_out_scale = nn.Parameter(torch.ones(spec.head_dim))

    def forward(
        self,
        q: Float[Tensor, "batch time heads key_dim"],
        k: Float[Tensor, "batch time heads key_dim"],
        v: Float[Tensor, "batch time heads value_dim"],
        x: Float[Tensor, "batch time hidden"],
        fast_weights: Float[Tensor, "batch heads key_dim value_dim"],
    ) -> tuple[
        Float[Tensor, "batch time heads value_dim"],
        Float[Tensor, "batch heads key_dim value_dim"],
        dict[str, Tensor],
    ]:
        """S^T q, the fast weights afterwards, and readings. q and k must have unit length."""
        log_decay, beta = self.gates(x)
        read, after = chunk_gated_delta_rule(
            q, k, v, log_decay, beta, scale=1.0, initial_state=fast_weights, output_final_state=True
        )
        assert after is not None
        readings = {
            "memory/decay": log_decay.detach().exp().mean(),
            "memory/write_strength": beta.detach().mean(),
            "memory/state_norm": after.detach().flatten(1).norm(dim=1).mean(),
        }
        return read, after, readings

    def normalise(
        self, read: Float[Tensor, "batch time heads value_dim"]
    ) -> Float[Tensor, "batch time heads value_dim"]:
        """read / sqrt(mean(read^2) + eps) * scale, for each head."""
        size = torch.rsqrt(read.square().mean(-1, keepdim=True) + READ_OUT_EPS)
        return read * size * self.read_out_scale.to(read.dtype)
