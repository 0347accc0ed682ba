"""Every shipped variant builds, on the meta device too, with as many parameters as its spec predicts."""

import pytest
import torch

import specs
from specs.parameters import parameter_count
from zoo import build_model, build_trainer


@pytest.mark.parametrize("name", specs.shipped_names("variant"))
def test_every_shipped_variant_builds_on_the_meta_device_as_predicted(name: str) -> None:
    variant = specs.load(name, "variant")
    with torch.device("meta"):
        model = build_model(variant)
    assert all(parameter.is_meta for parameter in model.parameters())
    assert sum(parameter.numel() for parameter in model.parameters()) == parameter_count(variant)


def test_a_seed_decides_the_weights_and_leaves_the_generator_alone() -> None:
    variant = specs.load("cortexgpt-stable", "variant", ["hidden_size=16"])
    before = torch.get_rng_state()
    first, again, other = (build_model(variant, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.embedding.weight, other.embedding.weight)


@pytest.mark.parametrize("name", specs.shipped_names("experiment"))
def test_every_shipped_experiment_trains(name: str) -> None:
    experiment = specs.load_experiment(
        name,
        ["variant.hidden_size=16", "recipe.steps=3", "recipe.sequence_length=16", "recipe.batch_size=2",
         "recipe.monitor.validation_sequences=4", "recipe.consolidation.kind=interval", "recipe.consolidation.every=1"],
    )  # fmt: skip
    trainer = build_trainer(experiment)
    before = trainer.model.embedding.weight.detach().clone()
    result = trainer.run()
    assert result.steps_taken == 3
    assert not torch.equal(trainer.model.embedding.weight, before)
