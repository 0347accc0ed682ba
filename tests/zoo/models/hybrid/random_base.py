"""A base for tests that need none in particular."""

import torch

from cortexzoo.specs.backbone import ArchitectureSpec
from cortexzoo.zoo.models.backbones import _base_of, _empty_network
from cortexzoo.zoo.models.base import Base


def random_backbone(architecture: ArchitectureSpec, seed: int = 0) -> Base:
    """Fresh weights: useless for language, sufficient for properties that are true of any weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return _base_of(_empty_network(architecture), f"random base of seed {seed}")
