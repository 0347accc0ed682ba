"""What a module was used for before: under autocast, in training mode, with other weights. It must leave no trace."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from cortexzoo.harness.checking.modules.subject import BareSubject
from cortexzoo.harness.checking.properties.base import largest_difference, scale_of

MOVED = 0.1
"""Standard deviations by which training moves a weight here."""
ROUNDINGS = 64
"""Of eps, relative to the output: adapters that are merged into weights and taken out again round them."""
Use = Callable[[BareSubject, nn.Module, Tensor], None]


def _autocast(subject: BareSubject, model: nn.Module, inputs: Tensor) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        subject.output(model, inputs)


def _modes(subject: BareSubject, model: nn.Module, inputs: Tensor) -> None:
    subject.output(model, inputs)
    model.train()
    model.eval()
    model.eval()  # as a loop of evaluations does; an adapter must not be merged twice


def _evaluated(subject: BareSubject, model: nn.Module, inputs: Tensor) -> None:
    subject.output(model, inputs)


def _learns(model: nn.Module) -> None:
    """Move every trainable weight in place, in training mode, as an optimizer does."""
    generator = torch.Generator().manual_seed(0)
    model.train()
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.is_floating_point():
            noise = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
            parameter.add_(noise * max(float(parameter.detach().float().std(correction=0)), 0.02) * MOVED)
    model.eval()


def _as_it_is(model: nn.Module) -> None:
    """Nothing follows the use."""


USES: Mapping[str, tuple[Use, Callable[[nn.Module], None]]] = {
    "a call under autocast": (_autocast, _as_it_is),
    "training mode and back": (_modes, _as_it_is),
    "weights that learned": (_evaluated, _learns),
}
"""What one of two copies is used for, and what then happens to both."""


@torch.no_grad()
def traces(subject: BareSubject, use: str, inputs: Tensor) -> dict[str, float]:
    """How far the output of a copy that was used differs from that of one that was not."""
    used, new = subject.copy(), subject.copy()
    first, then = USES[use]
    try:
        first(subject, used, inputs)
    except Exception:
        return {}  # it does not take that
    then(used)
    then(new)
    found, expected = (subject.output(model, inputs) for model in (used, new))
    apart = largest_difference(found, expected) / scale_of(expected)
    return {f"the output after {use}": apart if apart > ROUNDINGS * subject.eps else 0.0}
