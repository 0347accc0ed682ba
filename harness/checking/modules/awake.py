"""Weights that are zero at the beginning, drawn anew: a defect behind them shows in no output."""

import torch
from torch import nn

from cortexzoo.harness.checking.modules.loading import Factory


def awakened(model: nn.Module) -> nn.Module | None:
    """The module with every weight that is zero throughout drawn anew; None: it has none. Biases may be zero."""
    generator = torch.Generator().manual_seed(0)
    drawn = 0
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or not parameter.is_floating_point() or parameter.is_meta or bool(parameter.any()):
                continue
            fan_in = parameter.shape[1:].numel() if parameter.dim() > 1 else 1
            size = torch.rand(parameter.shape, generator=generator) * 0.2 + 0.1
            sign = torch.randint(2, parameter.shape, generator=generator) * 2 - 1
            parameter.copy_(sign * size / fan_in**0.5)
            drawn += 1
    return model if drawn else None


def awake_factory(factory: Factory) -> nn.Module:
    model = factory()
    return awakened(model) or model
