"""The drill: every fault in a run of its own, beside a control without fault, and whether each was met as declared."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from cortexzoo.harness.parallel.workers import in_processes
from cortexzoo.harness.runs.interventions import GUARDS_OFF
from cortexzoo.harness.studies.drill_run import DrillResult, perform, read_outcome
from cortexzoo.specs import ExperimentSpec, FaultsSpec, SpecError, load_experiment
from cortexzoo.specs.fault import Expectation, FaultSpec
from cortexzoo.specs.guards import RecoveryCheckpoints
from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.specs.recipe import EveryInterval
from cortexzoo.specs.task import TaskSpec
from cortexzoo.zoo.training.faults.injection import require_processes, require_steps

CONTROL = "no fault"
LOSS_TOLERANCE = 0.05
"""How far above the control's final loss a run may end, relative."""

SHORT = (
    "recipe.steps=120",
    "recipe.sequence_length=64",
    "recipe.monitor.validation_sequences=32",
    "recipe.monitor.validate_every=40",
    "recipe.monitor.checkpoint_every=20",
)
"""What a drill changes of an experiment so that some thirty runs take minutes."""
SHORT_VARIANT = ("variant.hidden_size=64",)
SHORT_TASK = ("data.gaps=[1]", "data.evaluation_documents=16")
SHORT_CONSOLIDATION = ("recipe.consolidation.every=10",)
SHORT_RECOVERY = ("recipe.recovery.every=20",)

Verdict = Literal["met", "not met", "skipped"]


@dataclass(frozen=True)
class FaultRow:
    """One fault of the drill."""

    name: str
    fault: FaultSpec
    expected: Expectation
    outcome: DrillResult
    verdict: Verdict
    reason: str
    """Why it was not met, or skipped; empty: it was met."""

    def against(self, control: DrillResult) -> str:
        """How its final loss differs from the control's."""
        if self.outcome.same_state(control):
            return "same bits"
        if self.outcome.final_loss is None or control.final_loss is None:
            return "–"
        return f"{100 * (self.outcome.final_loss / control.final_loss - 1):+.1f} %"


def drilled(spec: str, recipe: Sequence[str], sets: Sequence[str], *, guards: bool) -> ExperimentSpec:
    """The experiment `spec`, made short, then with the user's own `sets`, then without guards if so wished.

    Raises `SpecError`.
    """
    experiment = load_experiment(spec, recipe)
    whole = experiment.recipe
    short = [*recipe, *SHORT]
    if not isinstance(experiment.variant, HybridSpec):
        short += SHORT_VARIANT
    if isinstance(experiment.data, TaskSpec):
        short += SHORT_TASK
    if isinstance(whole.consolidation, EveryInterval):
        short += SHORT_CONSOLIDATION
    if isinstance(whole.recovery, RecoveryCheckpoints) and guards:
        short += SHORT_RECOVERY
    off = () if guards else GUARDS_OFF
    return load_experiment(spec, [*short, *off, *sets])


def chosen(faults: FaultsSpec, only: Sequence[str]) -> dict[str, FaultSpec]:
    """The named faults, or all. Raises `SpecError` for a name that is not there."""
    if unknown := [name for name in only if name not in faults.faults]:
        raise SpecError(
            [f"--only {name}: {faults.name} has no such fault; it has {', '.join(faults.faults)}" for name in unknown]
        )
    return {name: fault for name, fault in faults.faults.items() if not only or name in only}


def drill(
    experiment: ExperimentSpec, faults: Mapping[str, FaultSpec], folder: Path, *, guards: bool, jobs: int
) -> Iterator[tuple[str, DrillResult]]:
    """Yield the outcome of each run, the control among them, as soon as it is known.

    Outcomes that lie in `folder` are used as they are, so a drill that was interrupted continues where it stopped.
    Raises `SpecError` before any run when a fault would be injected after the last step, or one process of several.
    """
    plan = FaultsSpec(name="drill", faults=dict(faults))
    require_steps(plan, experiment.recipe)
    require_processes(plan, 1)
    wanted: dict[str, FaultSpec | None] = {CONTROL: None, **faults}
    places = {name: folder / _place(name, fault, experiment, guards) for name, fault in wanted.items()}
    missing = []
    for name, place in places.items():
        if (outcome := read_outcome(place)) is not None:
            yield name, outcome
        else:
            alone = _alone(name, wanted[name])
            missing.append((name, partial(perform, experiment.canonical_json(), alone, guards, place)))
    yield from in_processes(missing, jobs)


def judged(
    faults: Mapping[str, FaultSpec], outcomes: Mapping[str, DrillResult], experiment: ExperimentSpec, *, guards: bool
) -> list[FaultRow]:
    """What became of each fault against what it declares, in the order of the faults."""
    control = outcomes[CONTROL]
    rows = []
    for name, fault in faults.items():
        outcome, expected = outcomes[name], fault.expected(experiment.recipe.objective.kind)
        if outcome.missed is not None:
            rows.append(FaultRow(name, fault, expected, outcome, "skipped", outcome.missed))
            continue
        reason = _differs(fault, outcome, control, experiment) if guards else _harmless(fault, outcome, control)
        rows.append(FaultRow(name, fault, expected, outcome, "not met" if reason else "met", reason))
    return rows


def harm(outcome: DrillResult, control: DrillResult) -> str:
    """What a run suffered against the control; empty: nothing."""
    if outcome.ended != "finished":
        return f"training {outcome.ended}: {outcome.line}"
    if not outcome.finite:
        return "weights, moments or memory are not finite"
    if outcome.final_loss is None or control.final_loss is None:
        return "no final loss"
    if not outcome.final_loss <= (1 + LOSS_TOLERANCE) * control.final_loss:
        return f"final loss {outcome.final_loss:.3f} against {control.final_loss:.3f}"
    return ""


def _differs(fault: FaultSpec, outcome: DrillResult, control: DrillResult, experiment: ExperimentSpec) -> str:
    """How a run with the guards on differs from what its fault declares; empty: it does not."""
    expected = fault.expected(experiment.recipe.objective.kind)
    if expected == "stop":
        if not outcome.stops:
            return f"training {outcome.ended} instead of stopping"
        whole = outcome.ended == "stopped" or outcome.same_state(control)
        return "" if whole else "resumed, and did not end as the control"
    if suffered := harm(outcome, control):
        return suffered
    refused, rollbacks = outcome.refused - control.refused, outcome.rollbacks - control.rollbacks
    match expected:
        case "skip" if rollbacks or refused != 1:
            return f"{refused} refused steps and {rollbacks} rollbacks instead of one refused step"
        case "rollback" if not rollbacks:
            return f"no rollback, {refused} refused steps"
        case "rollback" if isinstance(experiment.recipe.recovery, RecoveryCheckpoints):
            interval = experiment.recipe.recovery.every
            return "" if outcome.undone <= interval * rollbacks else f"{outcome.undone} steps undone"
        case "harmless" if not outcome.same_state(control):
            return "weights, moments, memory or random numbers are not those of the control"
        case "undetected" if refused or rollbacks:
            return f"{refused} refused steps, {rollbacks} rollbacks"
    return ""


def _harmless(fault: FaultSpec, outcome: DrillResult, control: DrillResult) -> str:
    """Whether a fault that must do harm without guards did none; empty: it is as declared."""
    return "did no harm" if fault.harms and not harm(outcome, control) else ""


def _place(name: str, fault: FaultSpec | None, experiment: ExperimentSpec, guards: bool) -> str:
    """A folder for exactly this run: experiment, guards and fault are in its name, not what the fault declares."""
    where = f"{experiment.name}-{experiment.hash()}{'' if guards else '-unguarded'}"
    if fault is None:
        return f"{where}/control"
    content = fault.model_dump_json(exclude={"expect", "expect_in_recall", "harms", "reason"})
    return f"{where}/{name}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def _alone(name: str, fault: FaultSpec | None) -> str | None:
    """A faults spec with only this one, as JSON."""
    return None if fault is None else FaultsSpec(name="drill", faults={name: fault}).canonical_json()


def as_json(rows: Sequence[FaultRow], control: DrillResult) -> dict[str, Any]:
    """What the table shows."""
    return {
        "control": control.as_json(),
        "faults": {
            row.name: {
                "declared": row.expected,
                "must_harm": row.fault.harms,
                "verdict": row.verdict,
                "reason": row.reason,
                **row.outcome.as_json(),
            }
            for row in rows
        },
    }
