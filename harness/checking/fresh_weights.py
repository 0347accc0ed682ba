"""The weights that a fresh model has by its spec: shapes, values, and the distributions of what is drawn."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from cortexzoo.specs.memory import CompressedStore, Contexts, MemorySpec, RawRing
from cortexzoo.specs.mixer import MixerSpec
from cortexzoo.specs.variant import CortexGPTSpec, Residual, TransformerSpec

FURTHEST = 7.0
"""Standard deviations of a normal distribution beyond which no weight lies: one in 4e11."""
ROUNDED = 1e-6
"""Of a mean: a standard deviation that float32 does not resolve beside it."""
SHARPNESS, FIRST_SCORE, SCORE_OF_A_TOKEN, FASTEST, SLOWEST = 2.0, -2.0, 0.5, 2.0, 0.05


@dataclass(frozen=True)
class Exactly:
    """Weights that are given."""

    value: Tensor

    def apart(self, drawn: Tensor) -> float:
        """Infinitely far where a value differs by more than rounding."""
        return 0.0 if torch.allclose(drawn, self.value.to(drawn), rtol=1e-5, atol=1e-6) else math.inf


@dataclass(frozen=True)
class Drawn:
    """Weights that are drawn: around `mean`, uniform within ± `within`, or normal with standard deviation `std`."""

    mean: Tensor
    within: float = 0.0
    std: float = 0.0

    def apart(self, drawn: Tensor) -> float:
        """Standard deviations of the mean and of the mean square of [draws, *shape]; infinite beyond the limits.

        What float32 rounds away from the mean, or to zero, is no distribution.
        """
        if self.variance <= (ROUNDED * float(self.mean.abs().max())) ** 2:
            return Exactly(self.mean).apart(drawn)
        off = (drawn - self.mean).double()
        most = self.within * (1 + 1e-6) if self.within else FURTHEST * self.std
        if not float(off.abs().max()) <= most + 1e-6 * float(self.mean.abs().max()):  # NaN is beyond them, too
            return math.inf
        square = self.variance
        spread = self.within**2 * math.sqrt(4 / 45) if self.within else math.sqrt(2) * square
        apart = [float(off.mean()) / math.sqrt(square), (float(off.square().mean()) - square) / spread]
        return max(abs(each) for each in apart) * math.sqrt(off.numel())

    @property
    def variance(self) -> float:
        """Of one weight."""
        return self.within**2 / 3 if self.within else self.std**2


Start = dict[str, Exactly | Drawn]
"""By the name of the parameter."""


def cortexgpt_start(spec: CortexGPTSpec) -> Start:
    """Of every parameter of a CortexGPT."""
    width, columns = spec.hidden_size, spec.columns.num_columns
    found: Start = {"embedding.weight": _normal(spec.embedding_std, spec.vocab_size, width)}
    found |= _linear("vocabulary", width, spec.vocab_size) | _linear("columns.score", width, columns)
    for name, fan_in in (("hidden", width), ("output", width), ("mix", columns * width)):
        found[f"columns.{name}_weight"] = _uniform(fan_in, columns, width, width)
        found[f"columns.{name}_bias"] = _uniform(fan_in, *([] if name == "mix" else [columns]), width)
    if isinstance(spec.join, Residual):
        for name in ("memory_norm", "columns_norm", "final_norm"):
            found |= _norm(name, width)
    return found | _memory(spec.memory, width)


def _memory(spec: MemorySpec, width: int) -> Start:
    found: Start = {}
    ring, store = spec.short_term, spec.long_term
    if ring.kind != "none":
        found |= _linear("memory.short_term.query", width, width) | _linear("memory.short_term.key", width, width)
        if ring.recency == "learned":
            found["memory.short_term.recency"] = Exactly(_recency(ring.num_heads))
        if ring.read_out.kind == "projected":
            found |= _norm("memory.short_term.norm", width)
            found |= _linear("memory.short_term.value", width, width, bias=False)
    half, quarter = width // 2, width // 4
    match store:
        case RawRing(code_size=code):
            found["memory.long_term.log_sharpness"] = Exactly(torch.zeros(()))
            found |= _through("memory.long_term.compress", width, half, code)
            found |= _through("memory.long_term.decompress", code, half, width)
        case CompressedStore(code_size=code):
            found |= _through("memory.long_term.compress", width, half, quarter, code)
            found |= _through("memory.long_term.decompress", code, quarter, half, width)
            found |= _through("memory.long_term.consolidation_network", 2 * width, code, code)
        case Contexts():
            run = FIRST_SCORE + SCORE_OF_A_TOKEN * torch.arange(store.context + 1)
            found["contexts.read_out.run"] = Exactly(run)
            found["contexts.read_out.lag"] = Exactly(torch.zeros(store.context))
            found |= _linear("contexts.mixture.hidden", width + 4, store.share_width)
            found |= _linear("contexts.mixture.output", store.share_width, 1)
    sources = 3 if isinstance(store, RawRing | CompressedStore) else 2
    return found | _linear("memory.gate.linear", sources * width, sources)


def _recency(heads: int) -> Tensor:
    """a of softplus(a), for decays in a geometric row from the fastest to the slowest; one head has their mean."""
    ratio = SLOWEST / FASTEST
    decays = [FASTEST * ratio ** (head / (heads - 1) if heads > 1 else 0.5) for head in range(heads)]
    return torch.tensor([math.log(math.exp(decay) - 1) for decay in decays])


def transformer_start(spec: TransformerSpec) -> Start:
    """Of every parameter of a transformer."""
    width, inner = spec.hidden_size, spec.intermediate_size
    found: Start = {"embedding.weight": _normal(spec.embedding_std, spec.vocab_size, width)}
    found |= _norm("final_norm", width) | _linear("vocabulary", width, spec.vocab_size, bias=False)
    for layer in (f"layers.{number}" for number in range(spec.num_layers)):
        found |= _norm(f"{layer}.attention_norm", width) | _norm(f"{layer}.feed_forward_norm", width)
        found |= _linear(f"{layer}.query_key_value", width, 3 * width, bias=False)
        found |= _linear(f"{layer}.attention_output", width, width, bias=False)
        found |= _linear(f"{layer}.feed_forward.0", width, inner) | _linear(f"{layer}.feed_forward.2", inner, width)
    return found


def sidecar_start(spec: MixerSpec, width: int) -> Start:
    """Of every parameter of a sidecar, its slow store apart. Queries start equal to keys, which is not told here."""
    heads = spec.num_heads
    inner = heads * spec.head_dim
    found: Start = {
        "sharpness": Exactly(torch.full((heads,), SHARPNESS)),
        "output.weight": Exactly(torch.zeros(width, inner)),
        "memory.read_out_scale": Exactly(torch.ones(spec.head_dim)),
        "memory.gates.decay.weight": Exactly(torch.zeros(heads, width)),
        "memory.gates.decay.bias": Exactly(torch.linspace(spec.decay.slowest_bias, spec.decay.fastest_bias, heads)),
        "conv.weight": Drawn(_taps(spec), std=spec.conv.noise) if spec.conv.noise else Exactly(_taps(spec)),
    }
    for name in ("query", "key", "value"):
        found |= _linear(name, width, inner, bias=False)
    found |= _linear("memory.gates.write", width, heads) | _linear("gate", 2 * inner, heads)
    if spec.write_width:
        found |= _linear("memory.gates.write_hidden", width, spec.write_width)
        found["memory.gates.write_from_hidden.weight"] = Exactly(torch.zeros(heads, spec.write_width))
    found["memory.gates.write.bias"] = Exactly(torch.full((heads,), spec.write_bias))
    found["gate.bias"] = Exactly(torch.full((heads,), spec.gate_bias))
    return found


def _taps(spec: MixerSpec) -> Tensor:
    """[3 · channels, taps]: keys come so many tokens late as their lag, queries one less, values at once."""
    heads, size, lags = spec.num_heads, spec.head_dim, spec.conv.key_lags
    taps = torch.zeros(3, heads * size, spec.conv.kernel_size)
    for head in range(heads):
        for channel in range(head * size, (head + 1) * size):
            lag = lags[(head if spec.conv.lags_over == "heads" else channel) % len(lags)]
            taps[0, channel, max(0, lag - 1)] = taps[1, channel, lag] = taps[2, channel, 0] = 1.0
    return taps.flatten(0, 1)


def _normal(std: float, *shape: int) -> Exactly | Drawn:
    return Drawn(torch.zeros(shape), std=std)


def _uniform(fan_in: int, *shape: int) -> Drawn:
    """As torch draws linear maps."""
    return Drawn(torch.zeros(shape), within=1 / math.sqrt(fan_in))


def _linear(name: str, inputs: int, outputs: int, *, bias: bool = True) -> Start:
    found: Start = {f"{name}.weight": _uniform(inputs, outputs, inputs)}
    return found | ({f"{name}.bias": _uniform(inputs, outputs)} if bias else {})


def _through(name: str, *widths: int) -> Start:
    """Linear maps with a ReLU between each two."""
    found: Start = {}
    for number, (inputs, outputs) in enumerate(pairwise(widths)):
        found |= _linear(f"{name}.{2 * number}", inputs, outputs)
    return found


def _norm(name: str, width: int) -> Start:
    return {f"{name}.weight": Exactly(torch.ones(width)), f"{name}.bias": Exactly(torch.zeros(width))}
