"""What happens every so many steps happens exactly then: consolidation, sleep, probe, validation, checkpoints."""

import json
import math
import shutil
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cortexzoo.harness.checking.properties.base import Case, Finding, Property, number, text
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.reference_loop import consolidates
from cortexzoo.harness.checking.training.witness import Fate, Look, Record, Witness, append, brief, measured, trainer_of
from cortexzoo.specs import ExperimentSpec, guards, recipe
from cortexzoo.specs.sleep import AcceptAlways, NoiseSleep
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer
from cortexzoo.zoo.training.result import StopReason, TrainingResult

STEPS = 13
PLANS: dict[str, tuple[dict[str, int], recipe.ConsolidationSpec, int, int, Mapping[int, Fate]]] = {
    "a": (
        {"probe_every": 2, "validate_every": 5, "checkpoint_every": 4, "keep_last": 2},
        recipe.EveryInterval(every=3), 6, 4, {6: "refuse"},
    ),
    "b": (
        {"probe_every": 3, "validate_every": 4, "checkpoint_every": 13, "keep_last": 1},
        recipe.AtRandom(probability=0.4), 5, 3, {4: "refuse", 5: "refuse", 6: "refuse"},
    ),
    "c": (
        {"probe_every": 20, "validate_every": 20, "checkpoint_every": 3, "keep_last": 4},
        recipe.EveryInterval(every=1), 13, 5, {},
    ),
}  # fmt: skip
"""Monitor, consolidation, steps between sleeps, steps between recovery points on disk, and refused steps."""


STOPS: Mapping[int, StopReason] = {4: "interrupted", 7: "terminated"}
"""A run that is stopped after these steps: the first time the same trainer continues, then one that reads its files."""
OF_FINISHED = ("recall", "recall_base", "perplexity", "chance", "earlier_loss", "later_loss")


class _Stops(Policy):
    """Ends the run after some steps, as signals would."""

    name = "harness_stops"

    def __init__(self, reasons: Mapping[int, StopReason]) -> None:
        self.reasons = reasons
        self.closed = 0

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        if step.number in self.reasons:
            trainer.stop(self.reasons[step.number])

    def close(self) -> None:
        self.closed += 1


def interval_cases(_: Subject) -> Iterable[Case]:
    """Intervals that meet and that do not, that divide the steps, and that are longer than the run; a single step.

    A sleep is put off by one refused step, and by two in a row. One run is stopped twice, and resumed.
    """
    yield {"plan": "b", "steps": 1}
    yield {"plan": "c", "steps": STEPS, "stopped": True}
    for plan in PLANS:
        yield {"plan": plan, "steps": STEPS}


def intervals_are_kept(subject: Subject, case: Case) -> Finding:
    """A short training with refused steps: the steps of every event and measurement against those that are due."""
    steps = number(case, "steps")
    monitor, consolidation, sleep, recovery, script = PLANS[text(case, "plan")]
    script = {step: fate for step, fate in script.items() if step <= steps}
    dreams = NoiseSleep(every=sleep, steps=2, batch_size=1, length=4, acceptance=AcceptAlways())
    experiment = measured(
        brief(
            subject.experiment, steps, consolidation=consolidation, sleep=dreams,
            recovery=guards.RecoveryCheckpoints(every=recovery, on_disk=True),
        ),
        validation_sequences=2, **monitor,
    )  # fmt: skip
    record = Record()
    with tempfile.TemporaryDirectory() as folder:
        stops: Mapping[int, StopReason] = STOPS if case.get("stopped") is True else {}
        given = (record, Witness(script), ending := _Stops(stops))
        trainer = trainer_of(experiment, *given, checkpoints=Path(folder))
        append(trainer, [Look(partial(_not_removed, Path(folder), steps))])
        try:
            ends = [trainer.run() for _ in stops]
            if stops:
                trainer = trainer_of(experiment, *given, checkpoints=Path(folder))
                trainer.load(Path(folder) / "last")
            ends.append(trainer.run())
        except Exception as problem:
            return Finding(math.inf, f"training gave up ({problem})", case)
        kept = {path.name for path in Path(folder).iterdir() if path.is_dir()}
        last = _position_of(Path(folder) / "last" / "trainer.json")
    wanted, found = _due(experiment, script, stops), _happened(record)
    wanted["how runs end"], found["how runs end"] = [*stops.values(), None], [end.stopped for end in ends]
    wanted["closed policies"], found["closed policies"] = len(ends), ending.closed
    wanted["what stopped runs conclude"], found["what stopped runs conclude"] = [], _concluded(ends[:-1])
    wanted["checkpoints kept"] = {"last", "best", *(f"step-{s:08d}" for s in wanted["last saved"][:-1])}
    older = sorted(wanted["checkpoints kept"] - {"last", "best"})
    wanted["checkpoints kept"] -= set(older[: max(0, len(older) - (monitor["keep_last"] - 1))])
    found |= {"checkpoints kept": kept, "position of the last": last}
    wanted["position of the last"] = steps
    wrong = [f"{what}: {found[what]}, due {due}" for what, due in wanted.items() if found[what] != due]
    if not wrong:
        return Finding(0, f"{steps} steps, everything when it was due", case)
    return Finding(len(wrong), "; ".join(wrong[:3]), {**case, "first": wrong[0].partition(":")[0]})


def _not_removed(folder: Path, last: int, _: Trainer, step: Step) -> None:
    """At the end an old checkpoint is still there, as where a process was ended before it removed it."""
    if step.number == last and (folder / "last").exists():
        shutil.copytree(folder / "last", folder / "step-00000000")


def _concluded(ends: Sequence[TrainingResult]) -> list[str]:
    """What is there although a run was stopped, and is of finished ones alone."""
    return [name for end in ends for name in OF_FINISHED if getattr(end, name) is not None]


def _position_of(file: Path) -> int | None:
    return json.loads(file.read_text(encoding="utf-8"))["position"] if file.exists() else None


def _due(experiment: ExperimentSpec, script: Mapping[int, Fate], stops: Collection[int]) -> dict[str, Any]:
    """The steps of everything, from the specs alone."""
    spec, monitor = experiment.recipe, experiment.recipe.monitor
    assert isinstance(spec.sleep, NoiseSleep) and isinstance(spec.recovery, guards.RecoveryCheckpoints)
    steps = range(1, spec.steps + 1)
    taken = [step for step in steps if step not in script]
    waiting, sleeps = False, []
    for step in steps:
        waiting = waiting or step % spec.sleep.every == 0
        if waiting and step in taken:
            sleeps.append(step)
            waiting = False
    renewed = [step for count, step in enumerate(taken, start=1) if count % spec.recovery.every == 0]
    saved = {step for step in steps if step % monitor.checkpoint_every == 0} | set(renewed) | {spec.steps, *stops}
    return {
        "consolidation": [step for step in taken if consolidates(spec.consolidation, experiment.seed, step)],
        "sleep": sleeps,
        "probe": [step for step in steps if step % monitor.probe_every == 0],
        "validation": [step for step in steps if step % monitor.validate_every == 0 or step == spec.steps],
        "size of the update": [step for step in taken if step % monitor.probe_every == 0],
        "refused": sorted(script),
        "recorded": list(steps),
        "last saved": sorted(saved),
    }


def _happened(record: Record) -> dict[str, Any]:
    return {
        "consolidation": record.at("consolidation"),
        "sleep": record.at("sleep"),
        "probe": list(record.with_metric("probe/loss")),
        "validation": list(record.with_metric("validation/loss")),
        "size of the update": list(record.with_metric("stability/update_rms")),
        "refused": record.at("step_refused"),
        "recorded": list(record.steps),
        "last saved": [step for step, kind, detail in record.events if (kind, detail.get("name")) == SAVED],
    }


SAVED = ("checkpoint", "last")

INTERVALS = (Property("intervals_are_kept", intervals_are_kept, interval_cases),)
