"""Parameter groups: who is decayed, whose rate is scaled, and that no parameter is lost."""

import pytest
from torch import nn

from cortexzoo.specs.recipe import AdamWSpec, RateFactors
from cortexzoo.zoo.training.optimizer import build_optimizer, set_rate
from tests.zoo.training.tiny import TinyModel, tiny_model

SPEC = AdamWSpec(learning_rate=0.5, weight_decay=0.1, rate_factors=RateFactors(short_term=2.0, long_term=0.5))


def test_only_matrices_that_are_no_embeddings_are_decayed() -> None:
    model = tiny_model()
    groups = build_optimizer(model, SPEC).param_groups
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {id(model.short.weight), id(model.long.weight)}
    assert {group["weight_decay"] for group in groups} == {0.0, 0.1}


def test_rates_follow_the_names_of_the_groups() -> None:
    model = tiny_model()
    optimizer = build_optimizer(model, SPEC)
    set_rate(optimizer, 0.25)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates[id(model.short.weight)] == rates[id(model.short.bias)] == 0.5
    assert rates[id(model.long.weight)] == 0.125
    assert rates[id(model.embedding.weight)] == 0.25


def test_frozen_parameters_are_left_out() -> None:
    model = tiny_model()
    model.short.requires_grad_(False)
    held = {id(p) for group in build_optimizer(model, SPEC).param_groups for p in group["params"]}
    assert held == {id(p) for p in model.parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (lambda m: {"bass": list(m.parameters())}, "parameter group 'bass' is unknown"),
        (lambda m: {"base": list(m.short.parameters())}, "parameter embedding.weight is in no parameter group"),
        (lambda m: {"base": list(m.parameters()), "long_term": [m.short.bias]}, "in two parameter groups"),
    ],
)
def test_groups_must_hold_every_parameter_once(groups, message: str) -> None:
    class Wrong(TinyModel):
        def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
            return groups(self)

    with pytest.raises(ValueError, match=message):
        build_optimizer(Wrong(), SPEC)
