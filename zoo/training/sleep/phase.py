"""One sleep: dream after dream, an update for each, until all are done or a stop was asked for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.func import functional_call

from cortexzoo.specs.sleep import Dreaming
from cortexzoo.zoo.errors import NonFiniteLogits
from cortexzoo.zoo.models.interface import MemoryState
from cortexzoo.zoo.streams import Stream
from cortexzoo.zoo.training.evaluation import autocast, lm_loss, undisturbed
from cortexzoo.zoo.training.policies.base import Trainer
from cortexzoo.zoo.training.sleep.anchors import divergence, elastic_penalty, fisher_information
from cortexzoo.zoo.training.sleep.dreams import Dream, draw
from cortexzoo.zoo.training.sleep.optimizer import SleepOptimizer
from cortexzoo.zoo.training.sleep.reservoir import Reservoir
from cortexzoo.zoo.training.state.undo import Weights


class SleepPhase:
    """The `number`th sleep of a run.

    Its random numbers follow from (the experiment's seed, `number`); torch's generators are put back. Every process
    has the same dreams and makes the same updates, each on its own: nothing is shared but the decision to refuse.
    """

    def __init__(self, trainer: Trainer, spec: Dreaming, number: int, reservoir: Reservoir, before: Weights) -> None:
        self.trainer = trainer
        self.spec = spec
        self.number = number
        self.reservoir = reservoir
        self.before = before
        self.region = autocast(trainer.device, trainer.precision)
        self.updates = SleepOptimizer(
            trainer.trainable, spec.learning_rate, spec.clip, lambda flag: _any(trainer, flag)
        )
        self._memory = trainer.ranks.gather(trainer.model, trainer.memory)

    def dream(self, progress: Callable[[int, int], None]) -> bool:
        """Make every update; False: a stop was requested before the last. `progress` receives (done, all).

        An update is refused where loss or gradient is not finite, and where the model has no finite logits to dream by.
        """
        with own_random_numbers(self.trainer.device, self.trainer.spec.seed, self.number) as random:
            fisher = self._fisher() if self.spec.ewc_weight else None
            for done in range(self.spec.steps):
                progress(done, self.spec.steps)
                if self.trainer.is_over():
                    return False
                try:
                    with self.region:
                        dream = draw(self.spec, self.trainer.model, self.reservoir, self._start, random)
                except NonFiniteLogits:
                    self.updates.refuse()
                else:
                    self.updates.update(self._dream_loss(dream, fisher))
        return not self.trainer.is_over()

    def _dream_loss(self, dream: Dream, fisher: list[Tensor] | None) -> Tensor:
        spec, model = self.spec, self.trainer.model
        state = dream.begun(model, self._start)
        with self.region:
            loss, output = lm_loss(model, dream.tokens, state, scored=dream.scored)
        if spec.kl_weight:
            loss = loss + spec.kl_weight * divergence(self._logits_before(dream, state), output.logits, dream.real)
        if fisher is not None:
            then = list(self.before.parameters.values())
            loss = loss + spec.ewc_weight * elastic_penalty(self.trainer.trainable, then, fisher)
        return loss

    def _logits_before(self, dream: Dream, state: MemoryState) -> Tensor:
        """The logits of the model from before the sleep, without dropout."""
        model = self.trainer.model
        with undisturbed(model), self.region:
            output = functional_call(model, dict(self.before.parameters), (dream.tokens[:, :-1], state))
        logits: Tensor = output.logits
        return logits

    def _fisher(self) -> list[Tensor]:
        model, trainable = self.trainer.model, self.trainer.trainable
        return fisher_information(model, trainable, self.reservoir.examples, self._start, self.region)

    @torch.no_grad()
    def _start(self, rows: int) -> MemoryState:
        """What the model makes of training's memory, which stays as it is, between batches."""
        state: MemoryState = self.trainer.model.between_batches(self._memory, rows)
        return state


@contextmanager
def own_random_numbers(device: torch.device, seed: int, number: int) -> Iterator[torch.Generator]:
    """A generator for dreams, and torch's generators seeded for dropout; the latter are as before afterwards."""
    dreams, dropout = Stream.SLEEP.seeds(seed, number).generate_state(2)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(dropout))
        yield torch.Generator().manual_seed(int(dreams))


def _any(trainer: Trainer, flag: bool) -> bool:
    return trainer.ranks.any_rank([flag])[0]
