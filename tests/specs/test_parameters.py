"""Parameters by part, predicted from the spec, are those of the built modules."""

from collections import Counter

import pytest
import torch

from cortexzoo.specs import load, shipped_names
from cortexzoo.specs.parameters import frozen_parameter_count, parameter_count, parameters_by_part
from cortexzoo.specs.variant import VariantSpec
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.models.hybrid.model import Hybrid
from tests.specs.costed import COSTED

PARTS = {
    "embedding": "embedding",
    "vocabulary": "vocabulary",
    "columns": "columns",
    "memory.short_term": "short-term memory",
    "memory.long_term": "long-term memory",
    "memory.gate": "gate",
    "attention_norm": "norms",
    "feed_forward_norm": "norms",
    "memory_norm": "norms",
    "columns_norm": "norms",
    "final_norm": "norms",
    "query_key_value": "attention",
    "attention_output": "attention",
    "feed_forward": "feed-forward",
}
SIDECAR_PARTS = {
    "query": "sidecars: projections",
    "key": "sidecars: projections",
    "value": "sidecars: projections",
    "output": "sidecars: projections",
    "conv": "sidecars: short convolution",
    "sharpness": "sidecars: window attention",
    "memory": "sidecars: memory",
    "gate": "sidecars: gate",
}


def part_of(parameter: str) -> str:
    if parameter.startswith("learning_base."):
        return "base"
    if parameter.startswith("sidecars."):
        return SIDECAR_PARTS[parameter.split(".")[2]]
    inside = parameter.split(".", 2)[2] if parameter.startswith("layers.") else parameter
    return next(part for prefix, part in PARTS.items() if inside.startswith(f"{prefix}."))


SHIPPED = {name: load(name, "variant") for name in shipped_names("variant")}
VARIANTS: dict[str, VariantSpec] = COSTED | SHIPPED


@pytest.mark.parametrize("name", VARIANTS)
def test_every_part_has_as_many_as_predicted(name: str) -> None:
    variant = VARIANTS[name]
    with torch.device("meta"):
        model = build_model(variant)
    counts: Counter[str] = Counter()
    for parameter, weights in model.named_parameters():
        counts[part_of(parameter)] += weights.numel()
    assert parameters_by_part(variant) == dict(counts)
    assert parameter_count(variant) == sum(counts.values())
    frozen = model.base.network.parameters() if isinstance(model, Hybrid) else ()
    assert frozen_parameter_count(variant) == sum(each.numel() for each in frozen if not each.requires_grad)
