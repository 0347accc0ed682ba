"""Defects of sleep: updates that are not made, weights that do not return, random numbers that are training's."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from cortexzoo.harness.checking.mutants.base import Host, Mutant, after, before, instead, rebound, replaced
from cortexzoo.zoo.models.hybrid.slow_store import SlowStore
from cortexzoo.zoo.training.sleep import phase
from cortexzoo.zoo.training.sleep.optimizer import SleepOptimizer
from cortexzoo.zoo.training.sleep.phase import SleepPhase
from cortexzoo.zoo.training.sleep.policy import Sleep
from cortexzoo.zoo.training.sleep.score import objection
from cortexzoo.zoo.training.sleep.transfer import Written, consolidate, read_again
from cortexzoo.zoo.training.state.undo import Weights

HOST: Host = "cortexgpt"


def _forgets_one(weights: Weights, model: Any) -> None:
    forgotten = next(iter(weights.parameters))
    rest = {name: tensor for name, tensor in weights.parameters.items() if name != forgotten}
    _restore(Weights(rest, weights.buffers), model)


_restore = Weights.restore


@contextmanager
def _trainings_generator(_device: Any, _seed: int, _number: int) -> Iterator[torch.Generator]:
    yield torch.Generator().manual_seed(int(torch.randint(2**31, ())))


def _memory_of_dreams(finished: bool, sleep: SleepPhase, *_: Any) -> bool:
    """Training continues with the memory as it is after a dream."""
    trainer = sleep.trainer
    tokens = torch.randint(trainer.model.vocab_size, (trainer.ranks.rows, 8), generator=torch.Generator())
    with torch.no_grad():
        trainer.memory = trainer.model(tokens, sleep._start(len(tokens))).state
    return finished


def _counted_twice(taken: bool, updates: SleepOptimizer, *_: Any) -> bool:
    updates.taken += not taken
    return taken


def _stored_under_itself(found: Written, *_: Any) -> Written:
    """Each token's value is stored under the token's own query, not under that of the token before it."""
    return replace(found, keys=found.keys.roll(-1, dims=1))


def _forgets_sleeps(store: SlowStore, *_: Any) -> None:
    for sums in (store.curvature, store.targets):
        sums.zero_()


SLEEP_MUTANTS = (
    Mutant("dream-updates-skipped", HOST, "no update of a sleep is made, all are counted as taken",
           replaced(SleepOptimizer, "_take", instead(lambda self, gradients: None)), caught_by="no_nan_after_sleep"),
    Mutant("refused-dream-counts", HOST, "a refused update of a sleep is counted as taken",
           replaced(SleepOptimizer, "update", after(_counted_twice)), caught_by="no_nan_after_sleep"),
    Mutant("sleep-without-finite-gate", HOST, "a dream whose loss is NaN is trained on",
           replaced(SleepOptimizer, "_is_finite", instead(lambda self, value: True)), caught_by="no_nan_after_sleep"),
    Mutant("sleep-return-forgets-a-weight", HOST, "a sleep that may not stay leaves one parameter as it made it",
           replaced(Weights, "restore", instead(_forgets_one)), caught_by="sleep_harms_nothing"),
    Mutant("sleep-always-stays", HOST, "no sleep is judged: each one stays",
           rebound(objection, instead(lambda *_: None)), caught_by="sleep_harms_nothing"),
    Mutant("sleep-draws-from-training", HOST, "dreams are drawn from the generator that dropout draws from",
           replaced(phase, "own_random_numbers", instead(_trainings_generator)), caught_by="sleep_harms_nothing"),
    Mutant("sleep-keeps-its-memory", HOST, "training continues with the memory of a dream",
           replaced(SleepPhase, "dream", after(_memory_of_dreams)), caught_by="sleep_harms_nothing"),
    Mutant("sleep-never-comes", HOST, "a sleep that is due is forgotten",
           replaced(Sleep, "_is_due", instead(lambda self, step: False)), caught_by="sleep_harms_nothing"),
    Mutant("sleep-moves-nothing", "hybrid", "a sleep that consolidates leaves the slow store as it was",
           rebound(consolidate, instead(lambda *_: 0)), caught_by="sleep_consolidates"),
    Mutant("sleep-stores-under-the-own-token", "hybrid", "a sleep stores every value under the token itself",
           rebound(read_again, after(_stored_under_itself)), caught_by="sleep_consolidates"),
    Mutant("every-key-is-known", "hybrid", "the slow store answers any key, also one that it does not have",
           replaced(SlowStore, "forward", instead(lambda self, q: self.answer(q.flatten(2))[0])),
           caught_by="sleep_consolidates"),
    Mutant("sleep-forgets-earlier-sleeps", "hybrid", "a sleep begins with an empty slow store",
           replaced(SlowStore, "absorb", before(_forgets_sleeps)), caught_by="old_facts_are_kept"),
)  # fmt: skip
