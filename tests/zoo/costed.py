"""Variants whose costs are predicted and measured: every kind of part once, small enough for many runs."""

import torch
from torch import Tensor

from cortexzoo.specs import load
from cortexzoo.specs.backbone import (
    ArchitectureSpec,
    FolderBackbone,
    GPT2Architecture,
    Qwen2Architecture,
    Qwen3Architecture,
    ScratchBackbone,
)
from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.specs.mixer import MixerSpec
from cortexzoo.specs.tuned import AllWeights, TunedSpec
from cortexzoo.specs.variant import CortexGPTSpec, VariantSpec
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState
from cortexzoo.zoo.models.tuned import tuned_base
from tests.zoo.models.hybrid.random_base import random_backbone

SMALL = ("hidden_size=32", "columns.num_columns=3", "memory.short_term.capacity=40", "memory.short_term.num_heads=4")
COMPRESSED = "memory.long_term={kind: compressed_store, code_size: 8, capacity: 50, min_reads: 1}"


def _cortexgpt(*changes: str, name: str = "cortexgpt-stable") -> VariantSpec:
    variant: VariantSpec = load(name, "variant", [*SMALL, *changes])
    return variant


def _stable(*changes: str) -> VariantSpec:
    return _cortexgpt("memory.long_term={kind: raw_ring, capacity: 48}", *changes)


def _hybrid(architecture: ArchitectureSpec, layers: tuple[int, ...] | None = None) -> VariantSpec:
    backbone = FolderBackbone(path="/none", architecture=architecture)
    mixer = MixerSpec(num_heads=2, head_dim=16, window_size=20)
    return HybridSpec(name="costed", backbone=backbone, chunk_size=24, layers=layers, mixer=mixer)


COSTED: dict[str, VariantSpec] = {
    "transformer": load("transformer", "variant", ["hidden_size=32", "num_layers=2", "intermediate_size=48"]),
    "stable": _stable(),
    "contexts": _cortexgpt("memory.long_term.capacity=48", "memory.long_term.lists=1"),
    "original": load("cortexgpt-original", "variant", ["hidden_size=32", "columns.num_columns=3"]),
    "compressed and bounded": _cortexgpt(COMPRESSED),
    "no memory": _cortexgpt("memory.long_term={kind: none}", "memory.short_term={kind: none}"),
    "no long-term memory": _cortexgpt("memory.long_term={kind: none}"),
    "shared ring": _stable("memory.short_term.scope=shared"),
    "stores its output": _stable("memory.short_term.stores=output"),
    "learns through contents": _stable("memory.short_term.stop_gradient=none"),
    "learns not from retrieval": _stable("memory.short_term.stop_gradient=retrieval"),
    "columns first": _stable("order=columns_first"),
    "hybrid with products of keys": HybridSpec(
        name="costed",
        backbone=FolderBackbone(path="/none", architecture=Qwen2Architecture(hidden_size=32, intermediate_size=48)),
        chunk_size=24,
        mixer=MixerSpec(num_heads=2, head_dim=16, window_size=20, key_products=3, write_width=7),
    ),
    "hybrid from scratch": HybridSpec(
        name="costed",
        backbone=ScratchBackbone(architecture=Qwen2Architecture(hidden_size=32, tied_embeddings=True)),
        chunk_size=24,
        mixer=MixerSpec(num_heads=2, head_dim=16, window_size=20),
    ),
    "hybrid on qwen2": _hybrid(Qwen2Architecture(hidden_size=32, intermediate_size=48)),
    "hybrid on qwen3": _hybrid(Qwen3Architecture(hidden_size=32, num_layers=3, num_kv_heads=2, head_dim=16), (0, 2)),
    "base trained wholly": TunedSpec(
        name="costed",
        backbone=FolderBackbone(path="/none", architecture=Qwen2Architecture(hidden_size=32, intermediate_size=48)),
        chunk_size=24,
        method=AllWeights(),
    ),
    "hybrid on gpt2": _hybrid(GPT2Architecture(hidden_size=32, num_layers=3, intermediate_size=64), (1,)),
}


def built(variant: VariantSpec, rows: int) -> tuple[MemoryLanguageModel, MemoryState]:
    """The model, and the state of `rows` rows at a document's start with a full long-term memory, if it has a bound."""
    if isinstance(variant, HybridSpec) and variant.backbone.kind != "scratch":
        hybrid = Hybrid(variant, random_backbone(variant.backbone.architecture))
        return hybrid, hybrid.initial_state(rows)
    if isinstance(variant, TunedSpec):
        tuned = tuned_base(variant, random_backbone(variant.backbone.architecture))
        return tuned, tuned.initial_state(rows)
    model = build_model(variant, seed=0)
    state = model.initial_state(rows)
    if isinstance(variant, CortexGPTSpec):
        capacity = getattr(variant.memory.long_term, "capacity", None) or 0
        while state.sizes()["ltm"] < capacity:
            with torch.no_grad():
                state = model.consolidate(model(some_tokens(rows, 40), model.between_batches(state, rows)).state)
    return model, model.between_batches(state, rows)


def some_tokens(rows: int, length: int) -> Tensor:
    return torch.randint(256, (rows, length), generator=torch.Generator().manual_seed(0))
