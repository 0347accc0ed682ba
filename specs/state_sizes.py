"""How many bytes a variant's memories take, from its spec alone: what `show` prints before anything is built."""

from collections.abc import Iterator
from dataclasses import dataclass

from cortexzoo.specs.backbone import GPT2Architecture, ScratchBackbone, TrainedBackbone
from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.specs.memory import CompressedStore, LongTermSpec, NoLongTerm, RawRing, ShortTermRing
from cortexzoo.specs.variant import CortexGPTSpec, TransformerSpec, VariantSpec

FLOAT = 4
"""Bytes of a float32, in which all memories are kept."""
POSITION = 8
"""Bytes of a token count."""
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class StateSize:
    """One memory of a model."""

    name: str
    bytes: int
    """After the given number of tokens in each row; a long-term memory that has a bound is full."""
    at_most: int | None
    """However long a text gets; None: it grows without bound."""


def state_sizes(variant: VariantSpec, batch_size: int, tokens: int) -> list[StateSize]:
    """Each memory of a batch that has read `tokens` tokens a row since the document's start."""
    match variant:
        case CortexGPTSpec():
            return list(_cortexgpt(variant, batch_size, tokens))
        case HybridSpec():
            return list(_hybrid(variant, batch_size, tokens))
        case TransformerSpec():
            a_token = 2 * variant.num_layers * variant.hidden_size * FLOAT * batch_size
            return [StateSize("key-value cache", a_token * tokens, None)]


def bytes_of_base_weight(variant: HybridSpec) -> int:
    """Bytes of one number of the frozen base."""
    backbone = variant.backbone
    return FLOAT if isinstance(backbone, TrainedBackbone | ScratchBackbone) else BYTES[backbone.dtype]


def _cortexgpt(variant: CortexGPTSpec, batch_size: int, tokens: int) -> Iterator[StateSize]:
    ring, d = variant.memory.short_term, variant.hidden_size
    if isinstance(ring, ShortTermRing):
        shared = ring.scope == "shared"
        groups, written = (1, tokens * batch_size) if shared else (batch_size, tokens)
        entry = groups * (2 * d + 1) * FLOAT  # key, value, how often it was read
        yield StateSize("short-term memory", min(ring.capacity, written) * entry, ring.capacity * entry)
    long_term = variant.memory.long_term
    if not isinstance(long_term, NoLongTerm):
        entries = long_term_entries(long_term)
        full = entries * _long_term_entry(long_term, d)
        yield StateSize("long-term memory", full, None if long_term.capacity is None else full)
    yield StateSize("position", POSITION, POSITION)


def long_term_entries(spec: LongTermSpec) -> int:
    """The entries of a full long-term memory; 0 for one that has no bound, which is counted as empty."""
    return 0 if isinstance(spec, NoLongTerm) else spec.capacity or 0


def _long_term_entry(spec: RawRing | CompressedStore, d: int) -> int:
    """Raw key and value with their code, or the codes of both."""
    return FLOAT * (2 * d + spec.code_size if isinstance(spec, RawRing) else 2 * spec.code_size)


def _hybrid(variant: HybridSpec, batch_size: int, tokens: int) -> Iterator[StateSize]:
    mixer, rows = variant.mixer, batch_size * len(variant.sidecar_layers)
    inner = mixer.num_heads * mixer.head_dim
    fast_weights = rows * mixer.num_heads * mixer.memory_key_dim * mixer.head_dim * FLOAT
    yield StateSize("fast weights", fast_weights, fast_weights)
    conv_state = rows * (mixer.conv.kernel_size - 1) * 3 * inner * FLOAT
    yield StateSize("short convolution", conv_state, conv_state)
    seen = rows * 2 * inner * FLOAT
    most = mixer.window_size - 1
    yield StateSize("window", min(most, tokens) * seen, most * seen)
    cached = batch_size * 2 * _cached_width(variant) * bytes_of_base_weight(variant)
    for store in filter(None, map(variant.slow_store_of, variant.sidecar_layers)):
        # Curvature, targets and weights, and the probes of novelty.
        size = FLOAT * store.features * (store.features + 2 * inner + store.probes)
        yield StateSize("slow store", size, size)
    yield StateSize("cache of the base", tokens % variant.chunk_size * cached, (variant.chunk_size - 1) * cached)
    yield StateSize("position", POSITION, POSITION)


def _cached_width(variant: HybridSpec) -> int:
    """Keys of one token in all layers of the base."""
    base = variant.backbone.architecture
    width = base.hidden_size if isinstance(base, GPT2Architecture) else base.num_kv_heads * base.width_of_head
    return base.num_layers * width
