"""When the model sleeps, whether the sleep may stay, and what is remembered of it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from cortexzoo.specs.sleep import ConsolidateSleep, Sleeping
from cortexzoo.zoo.streams import Stream
from cortexzoo.zoo.training.policies.base import Policy, Step, StepUndone, Trainer
from cortexzoo.zoo.training.recorder import SLEEP_SECONDS
from cortexzoo.zoo.training.sleep.consolidating import ConsolidationPhase
from cortexzoo.zoo.training.sleep.phase import SleepPhase
from cortexzoo.zoo.training.sleep.reservoir import NO_PLACE, Example, Reservoir
from cortexzoo.zoo.training.sleep.score import Score, objection
from cortexzoo.zoo.training.state.undo import StepBefore, Weights

Progress = Callable[[int, int], None]


def _no_progress(_done: int, _all: int) -> None:
    """For a run without progress display."""


@dataclass(frozen=True)
class Slept:
    """What came of one sleep."""

    number: int
    updates_taken: int
    updates_refused: int
    loss: float | None
    """Mean over the updates taken."""
    before: Score
    after: Score
    """Right after the last update, also of a sleep that was then undone."""
    reason: str | None
    """Why it was undone."""

    @property
    def accepted(self) -> bool:
        """Whether it stayed."""
        return self.reason is None


class Sleep(Policy):
    """Sleeps after every `every`th step, once its weights and memory are final; after a refused one with the next.

    Only trainable parameters change, by updates of the sleep's own. Training's memory, moments, schedule and random
    numbers are as they were before. A sleep that may not stay leaves the very bits that it found.

    When a stop is asked for in mid-sleep, the whole step is taken back as if it had not been attempted, so a run that
    is resumed repeats it, and ends with the bits of an undisturbed run.

    After a rollback the reservoir is the one of then, and so is the score before the first sleep. The
    numbers of the sleeps continue: none is repeated.
    """

    name = "sleep"
    recoverable = ("reference", "seen", "tokens", "scored", "places")

    def __init__(
        self, spec: Sleeping, seed: int, score: Callable[[Trainer], Score], progress: Progress = _no_progress
    ) -> None:
        self.spec = spec
        self.seed = seed
        self.score = score
        self.progress = progress
        self.reservoir = Reservoir(spec.reservoir)
        self.reference: Score | None = None
        """Before the first sleep."""
        self.due = False
        self.sleeps = 0
        """Slept so far; the next one's random numbers follow from it."""
        self.accepted = 0
        self.updates_taken = 0
        """In all sleeps so far, those that were taken back included."""
        self.updates_refused = 0
        self._before_step: StepBefore | None = None

    def batch_ready(self, trainer: Trainer, step: Step) -> None:
        self._before_step = StepBefore.of(trainer) if self._is_due(step) else None

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        if self.spec.keeps_examples:
            self.keep_examples(trainer, step)
        if self._is_due(step):
            began = time.perf_counter()
            slept = self.sleep(trainer)
            if slept is None:
                self._undo(trainer)
            else:
                self._record(trainer, step, slept)
            step.metrics[SLEEP_SECONDS] = time.perf_counter() - began
            self.due = False
        self._before_step = None

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        self.due = self._is_due(step)
        self._before_step = None

    def state_dict(self) -> dict[str, Any]:
        return {
            "reference": None if self.reference is None else self.reference.as_json(),
            "due": self.due,
            "sleeps": self.sleeps,
            "accepted": self.accepted,
            "updates_taken": self.updates_taken,
            "updates_refused": self.updates_refused,
        }

    def load_state(self, trainer: Trainer, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self._set_reference(values["reference"])
        self.due, self.sleeps, self.accepted = values["due"], values["sleeps"], values["accepted"]
        self.updates_taken, self.updates_refused = values["updates_taken"], values["updates_refused"]
        self.reservoir = Reservoir.from_tensors(self.spec.reservoir, tensors)

    def tensors(self) -> dict[str, Tensor]:
        return self.reservoir.tensors()

    def sleep(self, trainer: Trainer, before: Score | None = None) -> Slept | None:
        """Sleep once, and undo it where it may not stay. None: a stop was asked for, and the weights are as before.

        `before` is the model's score as it stands, where it is known already. The caller sees to it that training's
        step is over.
        """
        before = before or self.score(trainer)
        self.reference = self.reference or before
        weights = Weights.of(trainer.model)
        try:
            phase: SleepPhase | ConsolidationPhase
            if isinstance(self.spec, ConsolidateSleep):
                phase = ConsolidationPhase(trainer, self.spec, self.reservoir)
            else:
                phase = SleepPhase(trainer, self.spec, self.sleeps + 1, self.reservoir, weights)
            finished = phase.dream(self.progress)
        except BaseException:
            weights.restore(trainer.model)
            raise
        if not finished:
            weights.restore(trainer.model)
            return None
        after = self.score(trainer)
        reason = objection(self.spec.acceptance, self.reference, before, after)
        if reason is not None:
            weights.restore(trainer.model)
        made = phase.updates
        if reason is None and isinstance(self.spec, ConsolidateSleep) and made.taken:
            self.reservoir = Reservoir(self.spec.reservoir)  # what was moved is not read again
        self.sleeps += 1
        self.accepted += reason is None
        self.updates_taken += made.taken
        self.updates_refused += made.refused
        loss = fmean(made.losses) if made.losses else None
        return Slept(self.sleeps, made.taken, made.refused, loss, before, after, reason)

    def keep_examples(self, trainer: Trainer, step: Step) -> None:
        """Offer the step's examples, those of all processes, to the reservoir."""
        assert step.tokens is not None
        scored = torch.ones_like(step.tokens[..., 1:], dtype=torch.bool) if step.scored is None else step.scored
        tokens, scored = (trainer.ranks.gather_tensor(part, 1).flatten(0, 1).cpu() for part in (step.tokens, scored))
        places = torch.full(step.tokens.shape[:2], NO_PLACE) if step.places is None else step.places
        places = trainer.ranks.gather_tensor(places.to(step.tokens.device), 1).flatten()
        random = Stream.RESERVOIR.generator(self.seed, step.number)
        examples = (
            Example(row.clone(), counted.clone(), int(place))
            for row, counted, place in zip(tokens, scored, places, strict=True)
        )
        self.reservoir = self.reservoir.offered(examples, random)

    def _set_reference(self, reference: Mapping[str, Any] | None) -> None:
        self.reference = None if reference is None else Score(**reference)

    def _is_due(self, step: Step) -> bool:
        return self.due or step.number % self.spec.every == 0

    def _undo(self, trainer: Trainer) -> None:
        assert self._before_step is not None
        before, self._before_step = self._before_step, None
        before.restore(trainer)
        raise StepUndone

    def _record(self, trainer: Trainer, step: Step, slept: Slept) -> None:
        step.held_out = (slept.after if slept.accepted else slept.before).whole
        if slept.loss is not None:
            step.metrics["sleep/loss"] = slept.loss
        step.metrics["sleep/post_loss"] = slept.after.loss
        step.metrics["sleep/updates_taken"] = slept.updates_taken
        step.metrics["sleep/updates_refused"] = slept.updates_refused
        step.metrics["sleep/accepted"] = float(slept.accepted)
        trainer.event(
            "sleep",
            {
                "kind": self.spec.kind,
                "number": slept.number,
                "updates_taken": slept.updates_taken,
                "updates_refused": slept.updates_refused,
                "loss_before": slept.before.loss,
                "loss_after": slept.after.loss,
                "recall_before": slept.before.recall,
                "recall_after": slept.after.recall,
                "accepted": slept.accepted,
                "reason": slept.reason,
            },
        )
