"""The memory that training takes, from the specs alone: weights, gradients, moments, memories, activations."""

from dataclasses import dataclass

from cortexzoo.specs.backbone import GPT2Architecture
from cortexzoo.specs.flops import BLOCK, DELTA_CHUNK
from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.specs.memory import ProjectedReadOut, RawRing, ShortTermRing
from cortexzoo.specs.mixer import MixerSpec
from cortexzoo.specs.parameters import frozen_parameter_count, parameter_count
from cortexzoo.specs.recipe import RecipeSpec
from cortexzoo.specs.state_sizes import FLOAT, bytes_of_base_weight, long_term_entries, state_sizes
from cortexzoo.specs.variant import CortexGPTSpec, HardTopK, Residual, TransformerSpec, VariantSpec


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes. What the interpreter and its libraries take comes on top."""

    weights: int
    frozen_weights: int
    gradients: int
    moments: int
    """The two running means of AdamW."""
    memories: int
    """What the model remembers after a batch; a long-term memory that has a bound is full."""
    activations: int
    """What the forward pass of one batch keeps for the backward pass: an estimate, the others are exact."""

    @property
    def total(self) -> int:
        return self.weights + self.frozen_weights + self.gradients + self.moments + self.memories + self.activations


def training_memory(variant: VariantSpec, recipe: RecipeSpec) -> TrainingMemory:
    """For float32 weights, as both precisions of a recipe keep them; bf16 halves most activations at best."""
    trained = FLOAT * parameter_count(variant)
    sizes = state_sizes(variant, recipe.batch_size, recipe.sequence_length)
    frozen = frozen_parameter_count(variant)
    return TrainingMemory(
        weights=trained,
        frozen_weights=frozen * bytes_of_base_weight(variant) if isinstance(variant, HybridSpec) else 0,
        gradients=trained,
        moments=2 * trained,
        memories=sum(size.bytes for size in sizes),
        activations=FLOAT * activations(variant, recipe.batch_size, recipe.sequence_length),
    )


def activations(variant: VariantSpec, batch_size: int, length: int) -> int:
    """About how many numbers one forward pass keeps for its backward pass, the loss included."""
    rows = batch_size * length
    match variant:
        case CortexGPTSpec():
            kept = _ring(variant, batch_size, length) + _long_term(variant, rows) + _columns(variant, rows)
            # Input and output of each norm, or of each block.
            kept += rows * variant.hidden_size * (6 if isinstance(variant.join, Residual) else 3)
        case HybridSpec():
            kept = _base(variant, batch_size, length)
            kept += len(variant.sidecar_layers) * _sidecar(variant.mixer, batch_size, length, _width(variant))
        case TransformerSpec():
            # Two norms in and out, queries, keys, values, what is attended to, twice; two of the wider map.
            a_layer = 9 * variant.hidden_size + 2 * variant.intermediate_size
            kept = rows * (variant.num_layers * a_layer + 2 * variant.hidden_size)
    return kept + rows * variant.vocab_size


def _ring(variant: CortexGPTSpec, batch_size: int, length: int) -> int:
    ring, d = variant.memory.short_term, variant.hidden_size
    if not isinstance(ring, ShortTermRing) or ring.stop_gradient == "retrieval":
        return 0
    groups, rows = (1, batch_size) if ring.scope == "shared" else (batch_size, 1)
    steps = max(1, min(length, BLOCK // rows))
    blocks, queries = -(-length // steps), steps * rows
    span = ring.capacity + queries - rows
    # Attention weights, twice where stored values learn; the slots of each block, as keys and as values; queries.
    weights = (2 if ring.stop_gradient == "none" else 1) * ring.num_heads * queries * span
    flat = (ring.capacity + blocks * queries) * d
    copies = blocks * d * span if groups * ring.num_heads > 1 else flat  # alone, the slots of a block are a view
    read_out = 3 if isinstance(ring.read_out, ProjectedReadOut) else 1
    kept = blocks * (weights + d * queries) + 2 * copies + flat
    return groups * kept + groups * rows * length * d * read_out


def _long_term(variant: CortexGPTSpec, rows: int) -> int:
    spec, d = variant.memory.long_term, variant.hidden_size
    entries = long_term_entries(spec)
    if not isinstance(spec, RawRing) or not entries:
        return rows * d if entries else 0
    encoded = min(entries, rows * min(spec.top_k, entries))
    found = rows * min(spec.top_k, entries)
    # Ids of what was found (64 bits each), its distances and values by code.
    return rows * (2 * d + spec.code_size) + 2 * encoded * (d // 2) + found * (2 * spec.code_size + 4)


def _columns(variant: CortexGPTSpec, rows: int) -> int:
    d, n = variant.hidden_size, variant.columns.num_columns
    sparsity = variant.columns.sparsity
    if isinstance(sparsity, HardTopK):
        chosen = n * max(1, int(rows * sparsity.fraction))
        return 4 * chosen * d + 4 * chosen
    return rows * (2 * n * d + 3 * n) + 2 * n * d * d


def _width(variant: HybridSpec) -> int:
    return variant.backbone.architecture.hidden_size


def _base(variant: HybridSpec, batch_size: int, length: int) -> int:
    """Of the layers behind the first sidecar; frozen weights need no inputs kept, but everything that is no product."""
    base, layers = variant.backbone.architecture, variant.sidecar_layers
    rows, d, m = batch_size * length, base.hidden_size, base.intermediate_size
    behind = base.num_layers - 1 - layers[0]
    a_layer = 6 * d + (6 if isinstance(base, GPT2Architecture) else 3) * m
    if variant.backbone.kind == "scratch":  # weights that learn need the inputs of their products
        return rows * (base.num_layers * (a_layer + 6 * d + m) + 4 * d)
    return rows * (behind * a_layer + d)


def _sidecar(mixer: MixerSpec, batch_size: int, length: int, d: int) -> int:
    rows, dim, heads = batch_size * length, mixer.head_dim, mixer.num_heads
    inner = heads * dim
    block = min(BLOCK, length)
    reach = -(-(mixer.window_size - 1) // block) + 1
    blocks = batch_size * -(-length // block)
    window = blocks * (block * reach * (heads * block + 2 * inner) + block * inner)
    chunks = batch_size * heads * -(-length // DELTA_CHUNK)
    size = DELTA_CHUNK
    keys = mixer.memory_key_dim
    memory = chunks * (2 * size * (keys + dim) + 5 * size * size + keys * dim + 6 * size)
    if mixer.key_products:
        memory += rows * heads * 4 * keys  # queries and keys with their neighbours, and the products of both
    # The input; around the short convolution three times queries, keys and values; eight tensors behind them.
    return window + memory + rows * (d + 9 * inner + 8 * inner)
