"""Every shipped variant builds, on the meta device too, with as many parameters as its spec predicts."""

import pytest
import torch

from cortexzoo import specs
from cortexzoo.zoo import build_model, build_trainer


@pytest.mark.parametrize("name", specs.shipped_names("variant"))
def test_every_shipped_variant_builds_on_the_meta_device(name: str) -> None:
    variant = specs.load(name, "variant")
    with torch.device("meta"):
        model = build_model(variant)
    assert all(parameter.is_meta for parameter in model.parameters())


def test_a_seed_decides_the_weights_and_leaves_the_generator_alone() -> None:
    variant = specs.load("cortexgpt-stable", "variant", ["hidden_size=16"])
    before = torch.get_rng_state()
    first, again, other = (build_model(variant, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.embedding.weight, other.embedding.weight)


@pytest.mark.parametrize("name", specs.shipped_names("experiment"))
def test_every_shipped_experiment_trains(name: str) -> None:
    family = specs.load_experiment(name).variant.family
    text = ["variant.hidden_size=16", "recipe.consolidation.kind=interval", "recipe.consolidation.every=1"]
    task = ["variant.backbone.training.steps=2", "recipe.objective.stages=[{gaps: [0, 1]}]",
            "data.gaps=[1]", "data.evaluation_documents=2"]  # fmt: skip
    short = ["steps=3", "sequence_length=16", "batch_size=2", "monitor.validation_sequences=4"]
    small = [*(task if family == "hybrid" else text), *(f"recipe.{value}" for value in short)]
    experiment = specs.load_experiment(name, small)
    trainer = build_trainer(experiment)
    before = {key: value.detach().clone() for key, value in trainer.model.named_parameters()}
    result = trainer.run()
    assert result.steps_taken == 3
    assert any(not torch.equal(value, before[key]) for key, value in trainer.model.named_parameters())
