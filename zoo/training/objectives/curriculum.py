"""The curriculum: which gap the documents of a step have."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np
from torch import Tensor

from cortexzoo.specs.objective import Stage
from cortexzoo.zoo.streams import Stream
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer

RIGHT = "train/answer_tokens_right"
"""The share of a step's answer tokens that were right: a reading of the objective."""
RECENT = 4
"""Steps of each gap that a promotion looks at."""


class Curriculum(Policy):
    """Goes from stage to stage. Within one, every block of steps has each gap once, in a seeded order.

    A stage that was reached stays: a rollback takes back weights, not gaps.
    """

    name = "curriculum"

    def __init__(self, stages: Sequence[Stage], seed: int, documents: Mapping[tuple[int, int], int]) -> None:
        """`documents`: how many a step has, over all processes and micro-batches, by stage and gap."""
        self.stages = stages
        self.seed = seed
        self.documents = documents
        self.stage = 0
        self.began = 0
        """Steps attempted before the stage."""
        self.epoch = 0
        """Epochs so far: each has `samples_per_gap` documents of every gap, or ends sooner with its stage."""
        self._right: dict[int, list[float]] = {}

    def gap(self, number: int) -> int:
        """The gap of step `number`, which must belong to the present stage."""
        gaps = self.stages[self.stage].gaps
        block, place = divmod(number - 1 - self.began, len(gaps))
        order = Stream.GAPS.generator(self.seed, self.stage, block).permutation(len(gaps))
        return gaps[int(order[place])]

    @property
    def epoch_steps(self) -> int:
        """Steps until every gap of the stage had its documents."""
        stage = self.stages[self.stage]
        fewest = min(self.documents[self.stage, gap] for gap in stage.gaps)
        return len(stage.gaps) * ceil(stage.samples_per_gap / fewest)

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        gap = self.gap(step.number)
        self._right[gap] = [*self._right.get(gap, []), step.readings[RIGHT]][-RECENT:]
        self._go_on(trainer, step)

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        self._go_on(trainer, step)

    def state_dict(self) -> dict[str, Any]:
        right = [[gap, shares] for gap, shares in self._right.items()]
        return {"stage": self.stage, "began": self.began, "epoch": self.epoch, "right": right}

    def load_state(self, trainer: Trainer, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        # A run that is resumed with fewer stages stays in the last one.
        self.stage, self.began = min(values["stage"], len(self.stages) - 1), values["began"]
        self.epoch = values["epoch"]
        self._right = {gap: list(shares) for gap, shares in values["right"]}

    def _go_on(self, trainer: Trainer, step: Step) -> None:
        step.metrics |= {"curriculum/stage": float(self.stage + 1), "curriculum/gap": float(self.gap(step.number))}
        is_over = (step.number - self.began) % self.epoch_steps == 0
        is_last = self.stage == len(self.stages) - 1
        learned = self._learned() and not is_last
        self.epoch += is_over or learned
        if not is_last and (is_over or learned):
            self.stage, self.began, self._right = self.stage + 1, step.number, {}
            why = "every gap had its documents" if not learned else "the answers were correct"
            trainer.event("stage", {"stage": self.stage + 1, "gaps": list(self.stages[self.stage].gaps), "why": why})

    def _learned(self) -> bool:
        """Whether each gap's last steps reached the accuracy that the stage requires."""
        stage = self.stages[self.stage]
        recent = [self._right.get(gap, []) for gap in stage.gaps]
        if stage.promote_at is None or any(len(shares) < RECENT for shares in recent):
            return False
        return all(float(np.mean(shares)) >= stage.promote_at for shares in recent)
