"""Floating point operations of one forward and one training pass, counted from a spec alone.

Counted are matrix products, a multiplication and an addition each, as `torch.utils.flop_counter` counts them, and the
search of a full long-term memory, which happens outside of torch. The backward pass is counted product by product: what
takes no gradient (frozen weights, stored memory contents) costs nothing there.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from cortexzoo.specs.backbone import ArchitectureSpec, GPT2Architecture
from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.specs.memory import CompressedStore, NoLongTerm, ProjectedReadOut, RawRing, ShortTermRing
from cortexzoo.specs.state_sizes import long_term_entries
from cortexzoo.specs.variant import CortexGPTSpec, HardTopK, TransformerSpec, VariantSpec

BLOCK = 64
"""Queries that attention over a ring or a window takes at a time."""
DELTA_CHUNK = 32
"""Tokens of a chunk of the gated delta rule."""
INVERSE_LEAF = 16
SEARCH = "search of the long-term memory"


@dataclass(frozen=True)
class Product:
    """One matrix product of a pass."""

    part: str
    forward: int
    backward: int


@dataclass(frozen=True)
class Flops:
    """Operations of one batch, by part of the model."""

    forward: dict[str, int]
    training: dict[str, int]
    """Forward and backward together; the optimiser's own work is not counted."""
    tokens: int

    @property
    def forward_per_token(self) -> float:
        return sum(self.forward.values()) / self.tokens

    @property
    def training_per_token(self) -> float:
        return sum(self.training.values()) / self.tokens


def flops(variant: VariantSpec, batch_size: int, length: int) -> Flops:
    """Operations of one batch of `batch_size` rows of `length` tokens that begin a document.

    A long-term memory that has a bound counts as full, one that has none as empty.
    """
    match variant:
        case CortexGPTSpec():
            products = _cortexgpt(variant, batch_size, length)
        case HybridSpec():
            products = _hybrid(variant, batch_size, length)
        case TransformerSpec():
            products = _transformer(variant, batch_size, length)
    forward: defaultdict[str, int] = defaultdict(int)
    training: defaultdict[str, int] = defaultdict(int)
    for product in products:
        forward[product.part] += product.forward
        training[product.part] += product.forward + product.backward
    return Flops(dict(forward), dict(training), batch_size * length)


def _product(part: str, rows: int, fan_in: int, fan_out: int, gradients: int = 2) -> Product:
    """[rows, fan_in] times [fan_in, fan_out]; `gradients`: how many of the two factors get one."""
    forward = 2 * rows * fan_in * fan_out
    return Product(part, forward, gradients * forward)


def _cortexgpt(variant: CortexGPTSpec, batch_size: int, length: int) -> Iterator[Product]:
    rows, d = batch_size * length, variant.hidden_size
    ring = variant.memory.short_term
    if isinstance(ring, ShortTermRing):
        yield from _ring(ring, d, batch_size, length)
        yield _product("gate", rows, d, 3)
    yield from _long_term(variant, rows)
    yield _product("gate", rows, d, 3)
    yield from _columns(variant, rows)
    yield _product("vocabulary", rows, d, variant.vocab_size)


def _ring(ring: ShortTermRing, d: int, batch_size: int, length: int) -> Iterator[Product]:
    part = "short-term memory"
    groups, rows = (1, batch_size) if ring.scope == "shared" else (batch_size, 1)
    steps = max(1, min(length, BLOCK // rows))
    blocks, queries = -(-length // steps), steps * rows
    span = ring.capacity + queries - rows
    learns = 0 if ring.stop_gradient == "retrieval" else 1
    contents = 1 if ring.stop_gradient == "none" else 0
    asked = groups * rows * length
    yield _product(part, asked, d, d, 2 * learns)  # queries
    yield _product(part, groups * (ring.capacity + blocks * queries), d, d, learns * (1 + contents))  # keys
    yield _product(part, groups * blocks * queries, d, span, 2 * learns)  # scores
    yield _product(part, groups * blocks * queries, span, d, learns * (1 + contents))  # what is read
    projected = isinstance(ring.read_out, ProjectedReadOut)
    if projected:
        yield _product(part, asked, d, d)
    if ring.stores == "output":
        yield from _scan(ring, d, groups, rows, length, gradients=2 * contents)


def _scan(ring: ShortTermRing, d: int, groups: int, rows: int, length: int, gradients: int) -> Iterator[Product]:
    """Storing what comes out: the read-out, step by step, once more; with gradients a percent too many at most."""
    part = "short-term memory"
    steps = max(1, min(length, BLOCK // rows))
    for first in range(0, length, steps):
        taken = min(steps, length - first)
        yield _product(part, groups * steps * rows, ring.capacity, d, gradients)
        yield _product(part, groups * rows, rows * (taken * (taken - 1) // 2), d, gradients)
    if isinstance(ring.read_out, ProjectedReadOut):
        yield _product(part, groups * rows * length, d, d, gradients)
    yield _product("gate", groups * rows * length, d, 3, gradients)


def _long_term(variant: CortexGPTSpec, rows: int) -> Iterator[Product]:
    spec, d, part = variant.memory.long_term, variant.hidden_size, "long-term memory"
    entries = long_term_entries(spec)
    if isinstance(spec, NoLongTerm) or not entries:
        return
    yield Product(SEARCH, 2 * rows * spec.code_size * entries, 0)
    yield _product("gate", rows, d, 3)
    if isinstance(spec, RawRing):
        yield from _maps(part, rows, (d, d // 2, spec.code_size))
        encoded = min(entries, rows * min(spec.top_k, entries))
        for _ in ("keys", "values"):
            yield from _maps(part, encoded, (d, d // 2, spec.code_size), of_input=False)
        yield from _maps(part, rows, (spec.code_size, d // 2, d))
        return
    assert isinstance(spec, CompressedStore)
    for product in _maps(part, rows, (d, d // 2, d // 4, spec.code_size)):
        yield Product(part, product.forward, 0)
    yield from _maps(part, rows, (spec.code_size, d // 4, d // 2, d), of_input=False)


def _maps(part: str, rows: int, widths: tuple[int, ...], of_input: bool = True) -> Iterator[Product]:
    """Linear maps one after the other; `of_input`: the first one's input gets a gradient too."""
    for index, (fan_in, fan_out) in enumerate(pairwise(widths)):
        yield _product(part, rows, fan_in, fan_out, 2 if index or of_input else 1)


def _columns(variant: CortexGPTSpec, rows: int) -> Iterator[Product]:
    part, d, n = "columns", variant.hidden_size, variant.columns.num_columns
    sparsity = variant.columns.sparsity
    if isinstance(sparsity, HardTopK):
        yield _product(part, rows, d, n, 0)  # which rows are chosen takes no gradient
        chosen = n * max(1, int(rows * sparsity.fraction))
        for _ in ("hidden", "output", "mixed"):
            yield _product(part, chosen, d, d)
        return
    yield _product(part, rows, d, n)
    yield _product(part, n * d, d, d)  # output and mixing weights fold into one, once a batch
    yield _product(part, n, d, d)
    yield _product(part, rows, d, n * d)
    yield _product(part, rows, n * d, d)
    yield _product(part, rows, n, d)


def _transformer(variant: TransformerSpec, batch_size: int, length: int) -> Iterator[Product]:
    rows, d, m = batch_size * length, variant.hidden_size, variant.intermediate_size
    for _ in range(variant.num_layers):
        yield _product("attention", rows, d, 4 * d)
        yield _product("attention", 2 * rows, length, d)  # every query meets every key: the mask comes later
        yield _product("feed-forward", 2 * rows, d, m)
    yield _product("vocabulary", rows, d, variant.vocab_size)


def _hybrid(variant: HybridSpec, batch_size: int, length: int) -> Iterator[Product]:
    base, layers = variant.backbone.architecture, variant.sidecar_layers
    learns = variant.backbone.kind == "scratch"
    whole, rest = divmod(length, variant.chunk_size)
    pieces = [(whole, variant.chunk_size)] * bool(whole) + [(1, rest)] * bool(rest)
    for chunks, size in pieces:
        for layer in range(base.num_layers):
            # A frozen layer passes gradients on to the sidecars before it, if there are any.
            passes_on = learns or layer > layers[0]
            yield from _base_layer(base, batch_size * chunks, size, passes_on=passes_on, learns=learns)
            if layer in layers:
                yield from _sidecar(variant, batch_size, chunks * size, first=layer == layers[0] and not learns)
        yield _product("base", batch_size * chunks * size, base.hidden_size, base.vocab_size, 1 + learns)


def _base_layer(base: ArchitectureSpec, rows: int, size: int, *, passes_on: bool, learns: bool) -> Iterator[Product]:
    tokens, d, part, gradients = rows * size, base.hidden_size, "base", passes_on + learns
    if isinstance(base, GPT2Architecture):
        queries, keys, maps = d, d, 2
    else:
        queries, keys, maps = base.num_heads * base.width_of_head, base.num_kv_heads * base.width_of_head, 3
    yield _product(part, tokens, d, 2 * queries + 2 * keys, gradients)
    yield _product(part, 2 * tokens, size, queries, 2 * passes_on)
    yield _product(part, maps * tokens, d, base.intermediate_size, gradients)


def _sidecar(variant: HybridSpec, batch_size: int, length: int, *, first: bool) -> Iterator[Product]:
    mixer, d, rows = variant.mixer, variant.backbone.architecture.hidden_size, batch_size * length
    heads, inner = mixer.num_heads, mixer.num_heads * mixer.head_dim
    of_input = 1 if first else 2  # nothing before the first sidecar learns
    yield _product("sidecars: projections", rows, d, 3 * inner, of_input)
    yield _product("sidecars: memory", rows, d, 2 * heads, of_input)
    yield _product("sidecars: gate", rows, 2 * inner, heads)
    yield _product("sidecars: projections", rows, inner, d)
    block = min(BLOCK, length)
    reach = -(-(mixer.window_size - 1) // block)
    queries = batch_size * -(-length // block) * block
    yield _product("sidecars: window attention", 2 * queries, (reach + 1) * block, inner)
    chunks = batch_size * heads * -(-length // DELTA_CHUNK)
    yield _delta_rule(chunks, mixer.memory_key_dim, mixer.head_dim)


def _delta_rule(chunks: int, key_dim: int, value_dim: int) -> Product:
    """The products of zoo.ops.gated_delta_chunks, whose backward pass is written out: C² · K, C² · V and C · K · V."""
    size = DELTA_CHUNK
    keys, values, states = 2 * size * size * key_dim, 2 * size * size * value_dim, 2 * size * key_dim * value_dim
    forward = 2 * keys + 2 * values + 3 * states + _unit_lower_inverse(size)
    return Product("sidecars: memory", chunks * forward, chunks * (4 * keys + 5 * values + 6 * states))


def _unit_lower_inverse(size: int) -> int:
    """Three doublings within the leaves, two products each; then blocks in pairs."""
    operations, block = size // INVERSE_LEAF * 6 * 2 * INVERSE_LEAF**3, INVERSE_LEAF
    while block < size:
        operations += size // (2 * block) * 2 * 2 * block**3
        block *= 2
    return operations
