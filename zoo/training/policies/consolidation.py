"""When short-term memory moves into long-term memory."""

import torch

from cortexzoo.specs.recipe import AtRandom, ConsolidationSpec, EveryInterval, Never
from cortexzoo.zoo.streams import Stream
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer


class Consolidation(Policy):
    """Consolidates after a taken step that is due; a refused step's memory is dropped and nothing is consolidated.

    Whether a step is due follows from (seed, step) alone, so it needs no state and is the same on every process. All
    processes consolidate the memory of the whole batch, so long-term memory stays the same on every one.
    """

    name = "consolidation"

    def __init__(self, spec: ConsolidationSpec, seed: int) -> None:
        self.spec = spec
        self.seed = seed

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        if self.is_due(step.number):
            with torch.no_grad():
                consolidated = trainer.model.consolidate(trainer.ranks.gather(trainer.model, trainer.memory))
                trainer.memory = trainer.ranks.scatter(trainer.model, consolidated)
            trainer.event("consolidation", trainer.memory.sizes())

    def is_due(self, step: int) -> bool:
        """Whether memory is consolidated after optimiser step `step`."""
        match self.spec:
            case EveryInterval(every=every):
                return step % every == 0
            case AtRandom(probability=probability):
                draw = Stream.CONSOLIDATION.generator(self.seed, step).random()
                return bool(draw < probability)
            case Never():
                return False
