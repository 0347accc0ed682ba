"""A second account of stages: scripts of right answers, and when each stage of a curriculum ends."""

import math
import random
from dataclasses import dataclass, field
from typing import Any, cast

from cortexzoo.specs.objective import Stage
from cortexzoo.zoo.training.objectives.curriculum import RIGHT, Curriculum
from cortexzoo.zoo.training.policies.base import Step

LAST_STEPS = 4
"""Of each gap, that a promotion looks at."""
SCRIPT = 120
STAGES = (
    Stage(gaps=(2,), samples_per_gap=9, promote_at=0.5),
    Stage(gaps=(0, 3, 1), samples_per_gap=40, promote_at=0.75),
    Stage(gaps=(1, 3), samples_per_gap=20, promote_at=0.25),
    Stage(gaps=(1, 4), samples_per_gap=7),
    Stage(gaps=(0, 2), samples_per_gap=11, promote_at=0.25),
)


@dataclass
class Heard:
    """The trainer, as a policy sees it that tells of events of a kind."""

    kind: str
    events: list[dict[str, Any]] = field(default_factory=list)

    def event(self, kind: str, detail: dict[str, Any]) -> None:
        if kind == self.kind:
            self.events.append(detail)


def stages_again(seed: int) -> list[str]:
    """Some scripts learn quickly, some hardly; every ninth step is refused."""
    drawn, documents = random.Random(seed), dict[tuple[int, int], int]()
    for place, stage in enumerate(STAGES):
        documents |= {(place, gap): 1 + (gap + place) % 3 for gap in stage.gaps}
    curriculum, heard = Curriculum(STAGES, seed, documents), Heard("stage")
    wrong, place, began, epochs, told = [], 0, 0, 0, 0
    shares: dict[int, list[float]] = {}
    block: list[int] = []
    for at in range(1, SCRIPT + 1):
        stage = STAGES[place]
        gap = curriculum.gap(at)
        block.append(gap)
        if len(block) == len(stage.gaps):
            if sorted(block) != sorted(stage.gaps):
                wrong.append(f"steps to {at} have the gaps {block}, the stage {list(stage.gaps)}")
            block = []
        right = min(1.0, drawn.random() * (0.6 + 0.2 * (seed % 4)))
        step = Step(at, readings={RIGHT: right})
        if at % 9:
            curriculum.step_taken(cast(Any, heard), step)
            shares.setdefault(gap, []).append(right)
        else:
            curriculum.step_refused(cast(Any, heard), step)
        if step.metrics != {"curriculum/stage": place + 1.0, "curriculum/gap": float(gap)}:
            wrong.append(f"step {at} records {step.metrics}, is of stage {place + 1} and gap {gap}")
        served = (at - began) // len(stage.gaps)
        whole = (at - began) % len(stage.gaps) == 0
        fewest = min(documents[place, each] for each in stage.gaps)
        needed = math.ceil(stage.samples_per_gap / fewest)
        over = whole and served > 0 and served % needed == 0
        last = place == len(STAGES) - 1
        recent = [shares.get(each, [])[-LAST_STEPS:] for each in stage.gaps]
        learned = (
            not last
            and stage.promote_at is not None
            and all(len(some) == LAST_STEPS and sum(some) / LAST_STEPS >= stage.promote_at for some in recent)
        )
        epochs += over or learned
        if not last and (over or learned):
            place, began, shares, block, told = place + 1, at, {}, [], told + 1
            why = "the answers were correct" if learned else "every gap had its documents"
            wanted = {"stage": place + 1, "gaps": list(STAGES[place].gaps), "why": why}
            if heard.events[-1:] != [wanted]:
                wrong.append(f"after step {at}: {wanted} is not told, but {heard.events[-1:]}")
        if (curriculum.stage, curriculum.epoch, len(heard.events)) != (place, epochs, told):
            wrong.append(f"after step {at} stage {curriculum.stage + 1}, epoch {curriculum.epoch}; "
                         f"should be {place + 1}, {epochs}")  # fmt: skip
            return wrong
    return wrong
