"""Kills training at random moments, then resumes it.

Every other kill falls at a random time of the run; the others fall at a random moment of a save, right before a call
that syncs or renames. A run that was killed is resumed (one killed before it had a folder is begun again) and must end
as an undisturbed run: metrics, events, and all checkpoints bitwise, wall-clock figures apart. The recipe is so
touchy that it refuses steps and rolls back, so that the guards have something to remember.
"""

import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cortexzoo.harness.fuzzing.killing import (
    EXPERIMENT,
    IN_SAVE,
    counting,
    differing,
    in_a_process,
    record,
    resume,
    the_run,
    train,
    until_call,
)
from cortexzoo.harness.runs.run_folder import CHECKPOINTS
from cortexzoo.specs import ExperimentSpec, load_experiment


@dataclass(frozen=True)
class KillResult:
    """One kill and its result."""

    moment: str
    steps_recorded: int
    """Steps that the killed run had recorded."""
    partial: bool
    """Whether a checkpoint was half written."""
    differing: list[str]
    """What differs from the run without a kill; empty: nothing."""


def run(kills: int, seed: int, folder: Path, report: Callable[[str], None]) -> list[KillResult]:
    """Train once undisturbed, then kill and resume `kills` times; `report` receives a line about each."""
    torch.set_num_threads(1)
    experiment = load_experiment("cortexgpt-stable", EXPERIMENT)
    began = time.perf_counter()
    in_a_process(train, experiment, folder / "reference")
    seconds = time.perf_counter() - began
    reference = the_run(folder / "reference")
    assert reference is not None
    expected = record(reference)
    calls = _calls_of_saves(experiment, folder / "counted")
    summary = reference.summary
    refused, rollbacks = summary["steps_refused"], summary["rollbacks"]
    report(f"undisturbed: {experiment.recipe.steps} steps, {refused} refused, {rollbacks} rollbacks, {seconds:.1f} s")
    draw = random.Random(seed)
    outcomes = []
    for number in range(kills):
        runs = folder / f"kill-{number:03d}"
        if number % 2:
            call = draw.randrange(1, calls + 1)
            moment = f"save call {call}"
            in_a_process(until_call, call, IN_SAVE, train, experiment, runs)
        else:
            after = draw.uniform(0, seconds)
            moment = f"{after:.2f} s"
            in_a_process(train, experiment, runs, kill_after=after)
        outcomes.append(_resumed(experiment, runs, moment, expected))
        report(f"{number + 1:3d}  {outcomes[-1].moment:<16} {_in_words(outcomes[-1])}")
    return outcomes


def _resumed(experiment: ExperimentSpec, runs: Path, moment: str, expected: dict[str, Any]) -> KillResult:
    killed = the_run(runs)
    steps, partial = 0, False
    if killed is None:
        in_a_process(train, experiment, runs)
    else:
        steps = len(killed.metrics()) if (killed.path / "metrics.jsonl").exists() else 0
        partial = any((killed.path / CHECKPOINTS).glob(".*"))
        if not killed.finished:
            in_a_process(resume, experiment, killed.path)
    run = the_run(runs)
    assert run is not None
    found = record(run)
    apart = differing(found, expected)
    return KillResult(moment, steps, partial, apart if run.finished else ["not finished", *apart])


def _calls_of_saves(experiment: ExperimentSpec, runs: Path) -> int:
    """How many such calls an undisturbed run makes."""
    with tempfile.NamedTemporaryFile() as file:
        in_a_process(counting, Path(file.name), IN_SAVE, train, experiment, runs)
        return len(Path(file.name).read_bytes())


def _in_words(outcome: KillResult) -> str:
    where = f"after {outcome.steps_recorded} steps" + (", a checkpoint half written" if outcome.partial else "")
    return f"{where}: " + ("equal" if not outcome.differing else f"DIFFERS in {', '.join(outcome.differing)}")
