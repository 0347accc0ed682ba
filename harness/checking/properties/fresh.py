"""What a fresh model begins with: shapes, values and distributions of its weights, and no number drawn twice."""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from cortexzoo.harness.checking.fresh_weights import (
    Exactly,
    Start,
    cortexgpt_start,
    sidecar_start,
    transformer_start,
)
from cortexzoo.harness.checking.other_settings import fresh_with, settings_for
from cortexzoo.harness.checking.properties.base import Case, DoesNotApply, Finding, Property, number
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.zoo.models.cortexgpt import CortexGPT
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.hybrid.slow_store import SlowStore
from cortexzoo.zoo.models.transformer import Transformer

BASE = "learning_base."
"""Weights that were trained before."""
DRAWS = 3
"""Models that are built; their weights are looked at together."""


def fresh_cases(subject: Subject) -> Iterable[Case]:
    """Three models from seeds on: the variant's, then with settings that are not the subject's."""
    for settings in ("", *settings_for(subject.model)):
        yield {"seed": 0, "settings": settings}


def weights_start_as_specified(subject: Subject, case: Case) -> Finding:
    """Every parameter of fresh models of the variant against the account of `cortexzoo.harness.checking.fresh_weights`.

    What is given must be as given; of what is drawn the mean, the mean square and what two parameters of one shape have
    in common are measured in standard deviations. A parameter that only one of the two knows is infinitely far off.
    """
    first, settings = number(case, "seed"), str(case.get("settings", ""))
    models = [
        fresh_with(subject.model, settings, first + draw) if settings else subject.rebuilt(first + draw)
        for draw in range(DRAWS)
    ]
    wanted = _start_of(models[0] if settings else subject.model)
    found = [{n: p.detach() for n, p in model.named_parameters() if not n.startswith(BASE)} for model in models]
    if odd := sorted(set(wanted) ^ set(found[0])):
        return Finding(
            math.inf, f"{odd[0]} is {'missing' if odd[0] in wanted else 'unknown'}", {**case, "first": odd[0]}
        )
    apart: dict[str, float] = {}
    for name, start in wanted.items():
        drawn = torch.stack([each[name] for each in found])
        expected = start.value if isinstance(start, Exactly) else start.mean
        apart[name] = start.apart(drawn) if drawn.shape[1:] == expected.shape else math.inf
    for model in models:
        apart |= _of_sidecars(model)
    worst = max(apart, key=lambda name: apart[name])
    if math.isfinite(apart[worst]):
        apart |= _in_common(wanted, found)
        worst = max(apart, key=lambda name: apart[name])
    reason = f"the fresh {worst} is {apart[worst]:.3g} standard deviations from what its spec says"
    return Finding(apart[worst], reason, {**case, "first": worst})


def _start_of(model: object) -> Start:
    match model:
        case CortexGPT():
            return cortexgpt_start(model.spec)
        case Transformer():
            return transformer_start(model.spec)
        case Hybrid():
            width = model.spec.backbone.architecture.hidden_size
            start = sidecar_start(model.spec.mixer, width)
            return {
                f"sidecars.{layer}.{name}": value
                for layer in model.spec.sidecar_layers
                for name, value in start.items()
            }
    raise DoesNotApply(f"there is no account of how the weights of {type(model).__name__} start")


def _of_sidecars(model: object) -> Mapping[str, float]:
    """Of a hybrid: queries equal to keys, and a slow store that is empty."""
    if not isinstance(model, Hybrid):
        return {}
    found = {}
    for layer in model.sidecars:
        sidecar = model.sidecar(layer)
        found[f"query of layer {layer}, beside its key,"] = _equal(sidecar.query.weight, sidecar.key.weight)
        if isinstance(sidecar.slow_store, SlowStore):
            for name, buffer in sidecar.slow_store.state_dict().items():
                empty = torch.ones_like(buffer) if name == "usual" else torch.zeros_like(buffer)
                found[f"{name} of the slow store"] = _equal(buffer, empty)
    return found


def _equal(one: Tensor, other: Tensor) -> float:
    return 0.0 if torch.equal(one, other) else math.inf


def _in_common(wanted: Start, found: list[dict[str, Tensor]]) -> Mapping[str, float]:
    """What each drawn parameter shares with the one of its shape before it, and with itself of another seed."""
    apart: dict[str, float] = {}
    last: dict[tuple[int, ...], tuple[str, Tensor]] = {}
    for name, start in wanted.items():
        if isinstance(start, Exactly) or (name.endswith(".query.weight") and name.startswith("sidecars.")):
            continue
        off = [(each[name] - start.mean).double() / math.sqrt(start.variance) for each in found]
        apart[f"{name} of one seed, beside another's,"] = _shared(off[0], off[1])
        shape = tuple(off[0].shape)
        if shape in last:
            before, other = last[shape]
            apart[f"{name}, beside {before},"] = _shared(off[0], other)
        last[shape] = (name, off[0])
    return apart


def _shared(one: Tensor, other: Tensor) -> float:
    """Standard deviations of the mean product."""
    return abs(float((one * other).mean())) * math.sqrt(one.numel())


FRESH = (Property("weights_start_as_specified", weights_start_as_specified, fresh_cases),)
