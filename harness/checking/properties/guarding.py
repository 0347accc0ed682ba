"""Guards follow their rules: scripted losses and gradient norms against an independent account of what must happen."""

import math
import random
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils import get_total_norm

from cortexzoo.harness.checking.properties.base import Case, Finding, Property, number, text
from cortexzoo.harness.checking.properties.damage import PARTS, STEPS, of_batches, of_not_finite, of_outgrown
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.reference_guards import Course, ReferenceGuards, Seen
from cortexzoo.harness.checking.training.reference_updates import ScaledRates, Undone
from cortexzoo.harness.checking.training.witness import Record, brief, on_a_tiny_model, trainer_of
from cortexzoo.specs import guards, recipe
from cortexzoo.zoo.errors import TrainingStopped
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer

RULES: dict[str, tuple[guards.SpikeSpec, guards.RecoverySpec]] = {
    "average, skip": (
        guards.AverageRatio(ratio=1.5, window=5, min_history=3, rebaseline_after=2, action="skip"),
        guards.RecoveryCheckpoints(every=3, storm_limit=3, storm_window=9),
    ),
    "average, rollback": (
        guards.AverageRatio(ratio=1.25, window=4, min_history=2, rebaseline_after=3, action="rollback"),
        guards.RecoveryCheckpoints(every=4, storm_limit=4, storm_window=12),
    ),
    "robust, skip": (
        guards.RobustDeviation(
            deviations=4.0, gradient_deviations=5.0, window=6, min_history=3, relative_floor=0.05, rebaseline_after=2,
            action="skip",
        ),
        guards.NoRecovery(),
    ),
    "robust, rollback": (
        guards.RobustDeviation(
            deviations=3.0, gradient_deviations=6.0, window=5, min_history=4, relative_floor=0.1, rebaseline_after=2,
            action="rollback",
        ),
        guards.RecoveryCheckpoints(every=2, storm_limit=3, storm_window=6),
    ),
    "counted": (guards.NoSpikeDetection(), guards.RecoveryCheckpoints(every=5)),
    "alone": (guards.NoSpikeDetection(), guards.NoRecovery()),
}  # fmt: skip
"""Short windows, so that a few steps fill them. No two alike."""
UPDATES = "updates"
UPDATE_RULE: dict[str, Any] = {
    "deviations": 1e6, "gradient_deviations": 1e6, "window": 7, "min_history": 4, "update_factor": 4.0,
}  # fmt: skip
"""For the sizes of updates alone."""
WHOLE, BATCHES = "whole", "batches"
SCRIPTS = ("mixed", "row", "broken", "edge", "edge of norms", "dead", "storm")
HIGHEST = 1e6
EDGE = 0.004
"""Share by which a value on the edge lies above or below its limit."""


class Scripted(Policy):
    """Gives a training the losses and gradient norms of a script, whatever its batches are."""

    name = "harness_script"

    def __init__(self, losses: Mapping[int, float], factors: Mapping[int, float]) -> None:
        self.losses, self.factors = losses, factors
        self.seen: dict[int, Seen] = {}
        self.number = 0

    def attach(self, trainer: TrainingLoop) -> None:
        """Losses are changed where the network gives them, which is before any guard sees them."""
        trainer.network.register_forward_hook(self._replace)

    def batch_ready(self, trainer: Trainer, step: Step) -> None:
        self.number = step.number
        self.seen[step.number] = Seen(_as_float32(self.losses[step.number]), math.nan)

    def gradients_ready(self, trainer: Trainer, step: Step) -> None:
        gradients = [parameter.grad for parameter in trainer.trainable if parameter.grad is not None]
        scale = self.factors[step.number] / float(get_total_norm(gradients))
        for gradient in gradients:
            gradient.mul_(scale)
        self.seen[step.number] = Seen(self.seen[step.number].loss, float(get_total_norm(gradients)))

    def _replace(self, _module: object, _inputs: object, output: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
        loss, rest = output
        return loss - loss.detach() + self.losses[self.number], rest


def guard_cases(_: Subject) -> Iterable[Case]:
    """Every rule with spikes and damage here and there, rows of both, storms, and values at the limits."""
    for rule, (spikes, recovery) in RULES.items():
        left_out = {"storm"} if isinstance(recovery, guards.NoRecovery) else set()
        if not isinstance(spikes, guards.RobustDeviation):
            left_out |= {"edge of norms"}
        if isinstance(spikes, guards.NoSpikeDetection):
            left_out |= {"row", "storm"}
        for script in SCRIPTS:
            if script not in left_out:
                yield {"rule": rule, "script": script, "seed": 0}
    for script, seeds in {"rates": 3, "outgrown": 2, "to rest": 1}.items():
        for seed in range(seeds):
            yield {"rule": UPDATES, "script": script, "seed": seed}
    for script in ("due", "refused", "at the end"):
        for seed in range(len(PARTS)):
            yield {"rule": WHOLE, "script": script, "seed": seed}
    yield {"rule": WHOLE, "script": "between", "seed": 0}
    yield {"rule": BATCHES, "script": "outside", "seed": 0}


def guard_strategy(_: Subject) -> st.SearchStrategy[Case]:
    """Other losses."""
    seeds, rules = st.integers(1, 999), st.sampled_from(list(RULES))
    return st.one_of(
        st.fixed_dictionaries({"rule": rules, "script": st.sampled_from(SCRIPTS), "seed": seeds}),
        st.fixed_dictionaries(
            {"rule": st.just(UPDATES), "script": st.sampled_from(("rates", "outgrown")), "seed": seeds}
        ),
    )


def guards_follow_their_rules(subject: Subject, case: Case) -> Finding:
    """Every decision and every count of the guards against those that the documentation gives for such a script."""
    if text(case, "rule") == BATCHES:
        return of_batches(subject, case)
    if text(case, "rule") == WHOLE:
        return of_not_finite(subject, case)
    if text(case, "rule") == UPDATES:
        return of_outgrown(subject, case) if text(case, "script") == "outgrown" else _updates(subject, case)
    spikes, recovery = RULES[text(case, "rule")]
    script = _script(text(case, "script"), number(case, "seed"), ReferenceGuards(spikes, recovery))
    record = Record()
    experiment = brief(on_a_tiny_model(subject.experiment), STEPS, spikes=spikes, recovery=recovery)
    trainer = trainer_of(experiment, record, script)
    script.attach(trainer)
    stopped, result = None, None
    try:
        result = trainer.run()
    except TrainingStopped as problem:
        stopped = problem.step
    except Exception as problem:
        return Finding(math.inf, f"training gave up ({problem})", case)
    course = _expected(spikes, recovery, script)
    wanted: dict[str, Any] = {
        "refused steps": course.refused, "stopped at": course.stopped_at, "new levels": course.new_levels,
        "ended at": course.stopped_at or STEPS, "rollbacks": course.rollbacks,
        "steps taken": len(course.taken) - course.undone,
        **{f"reported {key}": value for key, value in _reports(course).items()},
    }  # fmt: skip
    last = record.steps.get(max(record.steps, default=0), {})
    found: dict[str, Any] = {
        "refused steps": record.at("step_refused"), "stopped at": stopped, "new levels": record.at("new_level"),
        "rollbacks": [(s, d["to_step"], d["undone"]) for s, kind, d in record.events if kind == "rollback"],
        "steps taken": trainer.taken, "ended at": trainer.position,
        **{f"reported {key}": int(last.get(f"stability/{key}", 0)) for key in _reports(course)},
    }  # fmt: skip
    if result is not None:
        wanted["result"] = (len(course.taken) - course.undone, len(course.refused), course.undone, course.loss_spikes)
        found["result"] = (result.steps_taken, result.steps_refused, result.steps_undone, result.loss_spikes)
    wrong = [f"{key}: {found[key]}, should be {value}" for key, value in wanted.items() if found[key] != value]
    if not wrong:
        reason = f"{len(course.refused)} of {trainer.position} scripted steps refused, as the rules require"
        return Finding(0, reason, case)
    return Finding(len(wrong), "; ".join(wrong[:3]), {**case, "first": wrong[0].partition(":")[0]})


def _updates(subject: Subject, case: Case) -> Finding:
    """Steps with rates of a script, some far from the schedule's: which must be undone, and which accepted."""
    drawn, record = random.Random(f"rates {number(case, 'seed')}"), Record()
    rule, every, steps = guards.RobustDeviation(**UPDATE_RULE), drawn.randrange(2, 5), 2 * STEPS
    factors = {step: drawn.choice((0.2, 1.0, 1.0, 3.0)) for step in range(1, steps)}
    factors |= {step: drawn.choice((2.0, 5.0, 13.0, 40.0)) for step in drawn.sample(range(6, steps), 12)}
    row = drawn.randrange(steps // 2, steps - 6)
    factors |= {rule.min_history: 40.0, row: 90.0, row + 2: 90.0, row + 4: 90.0, row + 5: 90.0, steps: 7.0}
    rates = ScaledRates(factors)
    recovery = guards.RecoveryCheckpoints(every=every, storm_limit=steps)
    changes = {"spikes": rule, "recovery": recovery, "schedule": recipe.CosineRestarts(period=steps // 2, multiplier=1)}
    if text(case, "script") == "to rest":
        changes, rates.factors = changes | {"schedule": recipe.Trapezoid()}, {}  # whose last rate is 0
    trainer = trainer_of(brief(on_a_tiny_model(subject.experiment), steps, **changes), record, rates)
    try:
        trainer.run()
    except Exception as problem:
        return Finding(math.inf, f"training gave up ({problem})", case)
    wanted, levels = Undone.of(rates.sizes, rule, every), record.at("new_level")
    rollbacks = [(step, d["to_step"], d["undone"]) for step, kind, d in record.events if kind == "rollback"]
    differing = set(rollbacks) ^ set(wanted.rollbacks) | set(levels) ^ set(wanted.new_levels)
    if not differing:
        return Finding(0, f"{len(rollbacks)} of {steps} updates undone, as the rule requires", case)
    reason = f"undone: {rollbacks}, should be {wanted.rollbacks}; new levels: {levels}, {wanted.new_levels}"
    return Finding(len(differing), reason, case)


def _reports(course: Course) -> dict[str, int]:
    return {
        "loss_spikes": course.loss_spikes, "gradient_spikes": course.gradient_spikes,
        "nonfinite_steps": course.not_finite, "spike_recoveries": len(course.rollbacks),
    }  # fmt: skip


def _expected(spikes: guards.SpikeSpec, recovery: guards.RecoverySpec, script: Scripted) -> Course:
    reference = ReferenceGuards(spikes, recovery)
    for step, seen in script.seen.items():
        known = Seen(seen.loss, script.factors[step]) if math.isnan(seen.norm) else seen
        reference.step(step, known)
        if reference.course.stopped_at is not None:
            break
    return reference.course


def _script(kind: str, seed: int, ahead: ReferenceGuards) -> Scripted:
    """Losses near 2 and norms near 1, with what the kind puts between them.

    On an edge each value is near the limit that `ahead` finds, a little above or below.
    """
    drawn = random.Random(f"{kind} {seed}")
    losses = {step: 2.0 + drawn.randrange(-8, 9) / 64 for step in range(1, STEPS + 1)}
    norms = {step: 1.0 + drawn.randrange(-8, 9) / 128 for step in range(1, STEPS + 1)}
    first = drawn.randrange(6, 9)
    if kind == "mixed":
        losses |= {first: 40.0, first + 4: math.nan, first + 9: 3.25, first + 10: math.inf}
        norms |= {first + 2: 90.0, first + 6: math.inf, first + 7: 2.0, first + 12: math.nan}
    elif kind == "row":
        losses |= {step: 5.0 + drawn.randrange(-8, 9) / 64 for step in range(first, STEPS + 1)}
        norms |= {first + 7: 60.0, first + 8: 60.0, first + 9: 60.0}
    elif kind == "broken":
        losses |= dict.fromkeys(range(first, first + 9), math.nan)
        losses |= {first + 4: 90.0, first + 10: 60.0, first + 11: 60.0}
    elif kind == "dead":
        losses |= dict.fromkeys(range(first, STEPS + 1), math.nan)
    elif kind == "storm" and (recovery := ahead.recovery) is not None:
        # As far apart as rollbacks may be without a storm, then closer.
        apart = recovery.storm_window // (recovery.storm_limit - 1)
        losses |= dict.fromkeys([*range(first, STEPS, apart)][: recovery.storm_limit], 60.0)
        losses |= dict.fromkeys(range(STEPS - 6, STEPS, 2), 60.0)
    for step in losses if kind.startswith("edge") else ():
        values = losses if kind == "edge" else norms
        if (limit := ahead.limit("loss" if kind == "edge" else "norm")) < HIGHEST:
            values[step] = drawn.choice((limit * (1 + EDGE), limit * (1 - EDGE), values[step]))
        elif math.isinf(limit) and len(ahead.losses) == ahead.rule.min_history - 1:
            values[step] *= 9.0  # would be a spike if a shorter history counted
        if ahead.course.stopped_at is None:
            ahead.step(step, Seen(_as_float32(losses[step]), norms[step]))
    return Scripted(losses, norms)


def _as_float32(value: float) -> float:
    return float(torch.tensor(value))


GUARDING = (Property("guards_follow_their_rules", guards_follow_their_rules, guard_cases, guard_strategy, cost=8),)
