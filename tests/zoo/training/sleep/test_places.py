"""A replayed example does not find itself in long-term memory, as in training."""

import torch

from cortexzoo.specs import load_experiment
from cortexzoo.zoo.build import build_trainer
from cortexzoo.zoo.memory.contexts.diary import Diary
from cortexzoo.zoo.models.cortexgpt import CortexGPT, CortexGPTState
from cortexzoo.zoo.training.evaluation import lm_loss, undisturbed
from cortexzoo.zoo.training.policies.base import find_policy
from cortexzoo.zoo.training.sleep.dreams import Dream, together
from cortexzoo.zoo.training.sleep.policy import Sleep

SMALL = (
    "variant.hidden_size=16", "variant.columns.num_columns=4", "variant.memory.short_term.num_heads=2",
    "recipe.steps=4", "recipe.batch_size=4", "recipe.sequence_length=128", "recipe.consolidation.every=1",
    "recipe.monitor.validation_sequences=2", "recipe.monitor.validate_every=4",
    "recipe.sleep={kind: replay, every: 9, reservoir: 16}",
)  # fmt: skip


def test_a_replayed_example_does_not_find_itself() -> None:
    trainer = build_trainer(load_experiment("cortexgpt-stable", SMALL))
    trainer.run()
    sleep = find_policy(trainer.policies, Sleep)
    assert sleep is not None and len(sleep.reservoir.examples) == 16
    model, memory = trainer.model, trainer.memory
    assert isinstance(model, CortexGPT) and isinstance(memory, CortexGPTState)
    assert isinstance(memory.long_term, Diary)
    own = set(memory.long_term.pages.sources.tolist())
    assert all(example.place in own for example in sleep.reservoir.examples)
    dream = together(sleep.reservoir.examples)

    def loss(read: Dream) -> float:
        with undisturbed(model):
            begun = read.begun(model, lambda rows: model.between_batches(memory, rows))
            return float(lm_loss(model, read.tokens, begun)[0])

    placed, anywhere = loss(dream), loss(Dream(dream.tokens, dream.scored, dream.real))
    assert placed > anywhere + 0.1, "where a row stands was not considered"
    assert torch.equal(dream.on(torch.device("cpu")).places, dream.places)
