"""A hybrid small enough for many runs, on a random base: what holds for any weights holds for these."""

import torch
from torch import Tensor

from cortexzoo.specs.backbone import ArchitectureSpec, FolderBackbone, Qwen2Architecture
from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.specs.mixer import DecaySpec, MixerSpec
from cortexzoo.zoo.models.hybrid.block import Sidecar
from cortexzoo.zoo.models.hybrid.model import Hybrid
from tests.zoo.models.hybrid.random_base import random_backbone

ARCHITECTURE = Qwen2Architecture(hidden_size=16, num_heads=2, num_kv_heads=1, intermediate_size=24)
MIXER = MixerSpec(num_heads=2, head_dim=4, window_size=6)
CHUNK = 8


def tiny_spec(architecture: ArchitectureSpec = ARCHITECTURE, mixer: MixerSpec = MIXER) -> HybridSpec:
    return HybridSpec(
        name="tiny", backbone=FolderBackbone(path="/none", architecture=architecture), chunk_size=CHUNK, mixer=mixer
    )


def tiny_hybrid(
    architecture: ArchitectureSpec = ARCHITECTURE, mixer: MixerSpec = MIXER, *, awake: bool = True
) -> Hybrid:
    """`awake`: output projections are not zero, so that the sidecars matter."""
    model = Hybrid(tiny_spec(architecture, mixer), random_backbone(architecture))
    if awake:
        for layer in model.sidecars:
            torch.nn.init.normal_(model.sidecar(layer).output.weight, std=0.5)
    return model


def awake_sidecar(mixer: MixerSpec = MIXER, hidden_size: int = 12) -> Sidecar:
    """Every weight away from its start, decays that matter within a short test included."""
    sidecar = Sidecar(mixer, hidden_size)
    for parameter in sidecar.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return sidecar


def biased_mixer(bias: float) -> MixerSpec:
    """All three gates start at `bias`."""
    decay = DecaySpec(fastest_bias=bias, slowest_bias=bias)
    return MixerSpec(num_heads=1, head_dim=4, window_size=6, decay=decay, write_bias=bias, gate_bias=bias)


def some_tokens(rows: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(256, (rows, length), generator=torch.Generator().manual_seed(seed))


def relative_error(a: Tensor, b: Tensor) -> float:
    """0 where both are nothing but zeros."""
    return ((a - b).norm() / b.norm().clamp_min(torch.finfo(b.dtype).tiny)).item()
