"""Homeostasis opens columns and gate sources that are used too little, and nothing else."""

import pytest
import torch

from cortexzoo.specs import SpecError, load_experiment
from cortexzoo.specs.base import without_documentation
from cortexzoo.specs.plasticity import UsageTargets
from cortexzoo.zoo.build import build_trainer
from cortexzoo.zoo.models.cortexgpt import CortexGPT
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Step
from cortexzoo.zoo.training.policies.homeostasis import Homeostasis, usage_of

SMALL = (
    "variant.hidden_size=16", "variant.columns.num_columns=4", "variant.memory.short_term.num_heads=2",
    "variant.memory.long_term.capacity=1000", "recipe.batch_size=2", "recipe.sequence_length=16",
)  # fmt: skip
TARGETS = UsageTargets(columns=0.2, sources=0.1, rate=0.5, every=1)


def trainer_of(*overrides: str) -> TrainingLoop:
    return build_trainer(load_experiment("cortexgpt-stable", [*SMALL, *overrides]))


def model_of(trainer: TrainingLoop) -> CortexGPT:
    assert isinstance(trainer.model, CortexGPT)
    return trainer.model


def some_step(trainer: TrainingLoop, number: int = 1) -> Step:
    return Step(number, tokens=trainer.objective.examples(number).tokens)


def test_a_column_that_died_is_opened_and_the_others_are_left() -> None:
    trainer = trainer_of()
    model, step = model_of(trainer), some_step(trainer)
    model.columns.score.bias.data[2] = -8.0
    model.memory.gate.linear.bias.data[1] = -30.0
    tokens = step.tokens[-1][:, :-1]
    dead = usage_of(model, tokens, None)
    assert dead.columns[2] < 0.01 and dead.sources[1] < 0.05
    before, gate = model.columns.score.bias.detach().clone(), model.memory.gate.linear.bias.detach().clone()
    Homeostasis(TARGETS).step_taken(trainer, step)
    temperature = model.spec.columns.sparsity.temperature
    moved = model.columns.score.bias - before
    assert moved[2].item() == pytest.approx(temperature * 0.5 * float((0.2 / dead.columns[2]).log()), rel=1e-4)
    assert (moved[dead.columns >= 0.2] == 0).all()
    assert (model.memory.gate.linear.bias - gate)[1] > 0 and (model.memory.gate.linear.bias - gate)[0] == 0
    for number in range(2, 60):
        Homeostasis(TARGETS).step_taken(trainer, some_step(trainer, number))
    alive = usage_of(model, tokens, None)
    assert alive.columns.min() > 0.15 and alive.sources.min() > 0.08


def test_only_every_so_many_steps() -> None:
    trainer = trainer_of()
    model = model_of(trainer)
    model.columns.score.bias.data[2] = -8.0
    homeostasis = Homeostasis(UsageTargets(every=5))
    homeostasis.step_taken(trainer, some_step(trainer, 4))
    assert model.columns.score.bias[2] == -8.0
    step = some_step(trainer, 5)
    homeostasis.step_taken(trainer, step)
    assert model.columns.score.bias[2] > -8.0
    assert step.metrics["homeostasis/columns_below"] >= 1 and step.metrics["homeostasis/least_column"] < 0.02


def test_reading_the_usage_leaves_the_generators_alone() -> None:
    trainer = trainer_of()
    before = torch.get_rng_state()
    model_of(trainer).train()
    Homeostasis(TARGETS).step_taken(trainer, some_step(trainer))
    assert torch.equal(torch.get_rng_state(), before) and trainer.model.training
    assert not model_of(trainer).columns.score._forward_hooks


def test_a_recipe_with_targets_has_the_policy() -> None:
    names = [policy.name for policy in trainer_of("recipe.homeostasis={kind: usage}").policies]
    assert "homeostasis" in names
    assert "homeostasis" not in [policy.name for policy in trainer_of().policies]


@pytest.mark.parametrize("experiment", ["transformer", "cortexgpt-original", "cortex-v2-hybrid"])
def test_it_needs_columns_with_a_soft_mask(experiment: str) -> None:
    with pytest.raises(SpecError) as raised:
        load_experiment(experiment, ["recipe.homeostasis={kind: usage}"])
    (line,) = raised.value.lines
    assert "recipe.homeostasis.kind must be none, got usage" in line and "no columns with a soft mask" in line


def test_what_is_off_leaves_the_hash_as_it_was() -> None:
    plain = load_experiment("cortexgpt-stable", [])
    off = load_experiment("cortexgpt-stable", ["recipe.homeostasis={kind: none}"])
    on = load_experiment("cortexgpt-stable", ["recipe.homeostasis={kind: usage}"])
    assert plain.hash() == off.hash() != on.hash()
    counted = without_documentation(plain.model_dump(mode="json"))
    assert "homeostasis" not in counted["recipe"], "runs from before there was any have the same hash"
