"""What a training on facts tells as it goes: drift at the end of each epoch, and the order of gaps in a stage."""

from dataclasses import dataclass, field
from typing import Any, cast
from unittest.mock import patch

import torch

from cortexzoo.specs.objective import Stage
from cortexzoo.zoo.training.objectives.curriculum import Curriculum
from cortexzoo.zoo.training.objectives.drift import Drift
from cortexzoo.zoo.training.policies.base import Step

EPOCHS = (0, 0, 1, 1, 1, 2, 3, 3)
"""How many are over after each step."""
REFUSED = (3, 6)
BLOCKS, GAPS = 12, (0, 1, 2, 5)


@dataclass
class _Told:
    """The trainer, as far as drift needs it."""

    model: Any = field(default_factory=lambda: type("Model", (), {"switches": frozenset({"memory"})}))
    events: list[dict[str, Any]] = field(default_factory=list)

    def event(self, _kind: str, detail: dict[str, Any]) -> None:
        self.events.append(detail)


def told_of_drift() -> list[str]:
    """Before the first step and at the end of each epoch, also where its last step is refused; in its metrics, too."""
    told, curriculum = cast(Any, _Told()), Curriculum((Stage(gaps=(1,)),), 0, {(0, 1): 1})
    drift = Drift(torch.zeros(1, 2, dtype=torch.long), curriculum)
    wrong, wanted, reported = [], [0], 0

    def measured(_self: Any, _trainer: Any, disabled: Any) -> tuple[float, float]:
        return (1.0, 0.0) if disabled else (2.0, 0.25 + curriculum.epoch)

    with patch.object(Drift, "_measure", measured):
        drift.phase_began(told)
        for number, epoch in enumerate(EPOCHS, start=1):
            curriculum.epoch, step = epoch, Step(number)
            (drift.step_refused if number in REFUSED else drift.step_taken)(told, step)
            found = step.metrics.get("drift/hidden_kl")
            if found != (0.25 + epoch if epoch > reported else None):
                wrong.append(f"step {number} of epoch {epoch} records a divergence of {found}")
            wanted += [epoch] * (epoch > reported)
            reported = max(reported, epoch)
        drift.phase_began(told)
    if [detail["epoch"] for detail in told.events] != wanted:
        wrong.append(f"drift is told after epochs {[detail['epoch'] for detail in told.events]}, due after {wanted}")
    # Perplexity is that of the model, and that of the base from before the training.
    if not all(abs(detail["perplexity"] - 7.389056) <= 1e-5 and abs(detail["base_perplexity"] - 2.718282) <= 1e-5
               for detail in told.events):  # fmt: skip
        wrong.append(f"drift is told as {told.events[:1]}")
    return wrong


def orders_of_gaps() -> list[str]:
    """Blocks of steps, stages and seeds have orders of their own; and each gap is first as any other."""
    stages = (Stage(gaps=GAPS, samples_per_gap=10**6), Stage(gaps=GAPS, samples_per_gap=10**6))
    documents = {(stage, gap): 1 for stage in range(2) for gap in GAPS}
    orders = []
    for seed, stage in ((0, 0), (0, 1), (1, 0)):
        curriculum = Curriculum(stages, seed, documents)
        curriculum.stage = stage
        gaps = [curriculum.gap(step) for step in range(1, BLOCKS * len(GAPS) + 1)]
        orders.append([tuple(gaps[at : at + len(GAPS)]) for at in range(0, len(gaps), len(GAPS))])
    wrong = [f"blocks of a stage have the one order {order[0]}" for order in orders if len(set(order)) < BLOCKS / 3]
    wrong += ["a gap never comes first" for order in orders if len({block[0] for block in order}) < len(GAPS) - 1]
    if orders[0] in orders[1:]:
        wrong.append("two stages or seeds have one order of gaps")
    return wrong


def resumed_with_fewer_stages() -> list[str]:
    """What was read of a stage that is there no more continues in the last one."""
    stages, documents = (Stage(gaps=(1,)), Stage(gaps=GAPS)), {(0, 1): 1, **{(1, gap): 1 for gap in GAPS}}
    long = Curriculum((*stages, Stage(gaps=(7,))), 0, {**documents, (2, 7): 1})
    long.stage, long.began = 2, 5
    curriculum = Curriculum(stages, 0, documents)
    curriculum.load_state(cast(Any, None), long.state_dict(), {})
    if curriculum.stage != 1:
        return [f"a run of {len(stages)} stages is resumed in stage {curriculum.stage + 1}"]
    gaps = sorted(curriculum.gap(6 + step) for step in range(len(GAPS)))
    return [] if gaps == sorted(GAPS) else [f"a run that is resumed with fewer stages has gaps {gaps}"]
