"""Parameter counts of variants by part, from their specs alone: what `show` prints before anything is built."""

from cortexzoo.specs.backbone import (
    ArchitectureSpec,
    GPT2Architecture,
    Qwen2Architecture,
    Qwen3Architecture,
    RotaryArchitecture,
)
from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.specs.memory import CompressedStore, LongTermSpec, NoShortTerm, ProjectedReadOut, RawRing, ShortTermSpec
from cortexzoo.specs.variant import CortexGPTSpec, Residual, TransformerSpec, VariantSpec


def parameter_count(variant: VariantSpec) -> int:
    """The number of trainable parameters that the built model has."""
    return sum(parameters_by_part(variant).values())


def parameters_by_part(variant: VariantSpec) -> dict[str, int]:
    """The trainable parameters of each part; parts that have none are left out."""
    match variant:
        case CortexGPTSpec():
            parts = _cortexgpt(variant)
        case HybridSpec():
            parts = _sidecars(variant)
        case TransformerSpec():
            parts = _transformer(variant)
    return {name: count for name, count in parts.items() if count}


def frozen_parameter_count(variant: VariantSpec) -> int:
    """The number of parameters that are used and never trained: those of a hybrid's base, unless it is from scratch."""
    if not isinstance(variant, HybridSpec) or variant.backbone.kind == "scratch":
        return 0
    return base_parameter_count(variant.backbone.architecture)


def base_parameter_count(architecture: ArchitectureSpec) -> int:
    """The number of parameters of a base, tied embeddings counted once."""
    if isinstance(architecture, GPT2Architecture):
        return _gpt2(architecture)
    return _rotary(architecture)


def _linear(fan_in: int, fan_out: int) -> int:
    return fan_in * fan_out + fan_out


def _norm(width: int) -> int:
    return 2 * width


def _cortexgpt(variant: CortexGPTSpec) -> dict[str, int]:
    d, n = variant.hidden_size, variant.columns.num_columns
    return {
        "embedding": variant.vocab_size * d,
        "short-term memory": _short_term(variant.memory.short_term, d),
        "long-term memory": _long_term(variant.memory.long_term, d),
        "gate": _linear(3 * d, 3),
        "columns": n * (2 * _linear(d, d) + _linear(d, 1)) + _linear(n * d, d),
        "norms": 3 * _norm(d) if isinstance(variant.join, Residual) else 0,
        "vocabulary": _linear(d, variant.vocab_size),
    }


def _short_term(short_term: ShortTermSpec, d: int) -> int:
    if isinstance(short_term, NoShortTerm):
        return 0
    recency = short_term.num_heads if short_term.recency == "learned" else 0
    read_out = _norm(d) + d * d if isinstance(short_term.read_out, ProjectedReadOut) else 0
    return 2 * _linear(d, d) + recency + read_out


def _long_term(long_term: LongTermSpec, d: int) -> int:
    match long_term:
        case RawRing(code_size=code):
            return _linear(d, d // 2) + _linear(d // 2, code) + _linear(code, d // 2) + _linear(d // 2, d) + 1
        case CompressedStore(code_size=code):
            down = _linear(d, d // 2) + _linear(d // 2, d // 4) + _linear(d // 4, code)
            up = _linear(code, d // 4) + _linear(d // 4, d // 2) + _linear(d // 2, d)
            return down + up + _linear(2 * d, code) + _linear(code, code)
        case _:
            return 0


def _transformer(variant: TransformerSpec) -> dict[str, int]:
    d, m, layers = variant.hidden_size, variant.intermediate_size, variant.num_layers
    return {
        "embedding": variant.vocab_size * d,
        "attention": layers * 4 * d * d,
        "feed-forward": layers * (_linear(d, m) + _linear(m, d)),
        "norms": (2 * layers + 1) * _norm(d),
        "vocabulary": variant.vocab_size * d,
    }


def _sidecars(variant: HybridSpec) -> dict[str, int]:
    mixer, d, count = variant.mixer, variant.backbone.architecture.hidden_size, len(variant.sidecar_layers)
    heads, inner = mixer.num_heads, mixer.num_heads * mixer.head_dim
    parts = {
        "sidecars: projections": count * 4 * d * inner,
        "sidecars: short convolution": count * 3 * inner * mixer.conv.kernel_size,
        "sidecars: window attention": count * heads,  # sharpness
        "sidecars: memory": count * (2 * _linear(d, heads) + mixer.head_dim),  # persistence, write strength, norm
        "sidecars: gate": count * _linear(2 * inner, heads),
    }
    if variant.backbone.kind == "scratch":
        parts["base"] = base_parameter_count(variant.backbone.architecture)
    return parts


def _rotary(architecture: RotaryArchitecture) -> int:
    d, width = architecture.hidden_size, architecture.width_of_head
    queries, keys = architecture.num_heads * width, architecture.num_kv_heads * width
    attention = 2 * d * queries + 2 * d * keys
    if isinstance(architecture, Qwen2Architecture):
        attention += queries + 2 * keys
    if isinstance(architecture, Qwen3Architecture):
        attention += 2 * width
    layer = attention + 3 * d * architecture.intermediate_size + 2 * d
    embeddings = (1 if architecture.tied_embeddings else 2) * architecture.vocab_size * d
    return embeddings + architecture.num_layers * layer + d


def _gpt2(architecture: GPT2Architecture) -> int:
    d, m = architecture.hidden_size, architecture.intermediate_size
    layer = 2 * _norm(d) + _linear(d, 3 * d) + _linear(d, d) + _linear(d, m) + _linear(m, d)
    return (architecture.vocab_size + architecture.max_positions) * d + architecture.num_layers * layer + _norm(d)
