"""Kills training at random moments, then resumes: `cortexzoo bench kills [--kills 50] [--json FILE]`.

Every other kill falls at a random time of the run; the others fall at a random moment of a save, right before a call
that syncs or renames. A run that was killed is resumed (one killed before it had a folder is begun again) and must end
as the run that nobody touched: metrics, events, and all checkpoints bitwise, wall-clock figures apart. The recipe is so
touchy that it refuses steps and rolls back, so that the guards have something to remember.
"""

import argparse
import json
import multiprocessing
import os
import random
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from cortexzoo.harness.runs.options import UNTRACKED
from cortexzoo.harness.runs.resume import resume_run
from cortexzoo.harness.runs.run_folder import CHECKPOINTS, SPEC, Run
from cortexzoo.harness.runs.train import train_run
from cortexzoo.specs import ExperimentSpec, load_experiment
from cortexzoo.zoo.checkpoints import CheckpointReader
from cortexzoo.zoo.training.recorder import WALL_CLOCK_METRICS

EXPERIMENT = (
    "recipe=phase-1",
    "variant.hidden_size=16",
    "variant.columns.num_columns=2",
    "recipe.steps=40",
    "recipe.batch_size=2",
    "recipe.sequence_length=16",
    "recipe.optimizer.learning_rate=0.01",
    "recipe.consolidation.every=3",
    "recipe.spikes={kind: robust, deviations: 2.0, gradient_deviations: 2.0, min_history: 4, rebaseline_after: 2}",
    "recipe.spikes.action=rollback",
    "recipe.recovery.every=5",
    "recipe.recovery.storm_limit=100",
    "recipe.monitor.probe_every=2",
    "recipe.monitor.validate_every=6",
    "recipe.monitor.validation_sequences=4",
    "recipe.monitor.checkpoint_every=4",
    "recipe.monitor.keep_last=2",
)
IN_SAVE = ("fsync", "rename")
"""The calls of a save after which another state is on disk."""


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


def run(kills: int, seed: int, folder: Path, console: Console) -> list[KillResult]:
    """Train once undisturbed, then kill and resume `kills` times."""
    experiment = load_experiment("cortexgpt-stable", EXPERIMENT)
    began = time.perf_counter()
    _in_a_process(_train, experiment, folder / "reference")
    seconds = time.perf_counter() - began
    reference = _the_run(folder / "reference")
    assert reference is not None
    expected = record(reference)
    calls = _calls_of_saves(experiment, folder / "counted")
    summary = reference.summary
    refused, rollbacks = summary["steps_refused"], summary["rollbacks"]
    console.print(
        f"undisturbed: {experiment.recipe.steps} steps, {refused} refused, {rollbacks} rollbacks, {seconds:.1f} s"
    )
    draw = random.Random(seed)
    outcomes = []
    for number in range(kills):
        runs = folder / f"kill-{number:03d}"
        if number % 2:
            call = draw.randrange(1, calls + 1)
            moment = f"save call {call}"
            _in_a_process(_train_until_call, experiment, runs, call)
        else:
            after = draw.uniform(0, seconds)
            moment = f"{after:.2f} s"
            _in_a_process(_train, experiment, runs, kill_after=after)
        outcomes.append(_resumed(experiment, runs, moment, expected))
        console.print(f"{number + 1:3d}  {outcomes[-1].moment:<16} {_in_words(outcomes[-1])}")
    return outcomes


def record(run: Run) -> dict[str, Any]:
    """Everything of a run that must be bitwise equal, by name; tensors as their bytes."""
    clock = {*WALL_CLOCK_METRICS, "time"}
    found: dict[str, Any] = {
        "metrics": [{key: repr(value) for key, value in row.items() if key not in clock} for row in run.metrics()],
        "events": [{key: value for key, value in event.items() if key != "time"} for event in run.events()],
    }
    for folder in sorted((run.path / CHECKPOINTS).glob("[!.]*")):
        reader = CheckpointReader(folder)
        for file in reader.sums:
            name, _, kind = file.rpartition(".")
            if kind == "safetensors":
                tensors = reader.tensors(name)
                found[f"{folder.name}/{name}"] = {key: _bytes(tensor) for key, tensor in tensors.items()}
        trainer = reader.json("trainer")
        trainer["policies"].pop("telemetry")
        found[f"{folder.name}/trainer"] = trainer
    return found


def _bytes(tensor: torch.Tensor) -> tuple[str, tuple[int, ...], bytes]:
    flat = tensor.contiguous().flatten().view(torch.uint8) if tensor.numel() else tensor.new_zeros(0, dtype=torch.uint8)
    return str(tensor.dtype), tuple(tensor.shape), flat.numpy().tobytes()


def _resumed(experiment: ExperimentSpec, runs: Path, moment: str, expected: dict[str, Any]) -> KillResult:
    killed = _the_run(runs)
    steps, partial = 0, False
    if killed is None:
        _in_a_process(_train, experiment, runs)
    else:
        steps = len(killed.metrics()) if (killed.path / "metrics.jsonl").exists() else 0
        partial = any((killed.path / CHECKPOINTS).glob(".*"))
        if not killed.finished:
            _in_a_process(_resume, experiment, killed.path)
    run = _the_run(runs)
    assert run is not None
    found = record(run)
    differing = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
    return KillResult(moment, steps, partial, differing if run.finished else ["not finished", *differing])


def _the_run(runs: Path) -> Run | None:
    """The one run below `runs` that has a spec."""
    found = sorted(runs.glob(f"*/*/{SPEC}"))
    return Run.open(found[-1].parent) if found else None


def _in_a_process(target: Any, *arguments: Any, kill_after: float | None = None) -> None:
    """Run `target` in a fork of this process, which has everything imported and has computed nothing yet."""
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    process.start()
    process.join(kill_after)
    if process.is_alive():
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()


def _train(experiment: ExperimentSpec, runs: Path) -> None:
    train_run(experiment, runs, UNTRACKED)


def _resume(experiment: ExperimentSpec, path: Path) -> None:
    resume_run(path, experiment, options=UNTRACKED)


def _train_until_call(experiment: ExperimentSpec, runs: Path, last: int) -> None:
    """Train, and die right before the call number `last` of those that a save makes."""
    made = 0

    def count() -> None:
        nonlocal made
        made += 1
        if made == last:
            os.kill(os.getpid(), signal.SIGKILL)

    _watch_saves(count)
    _train(experiment, runs)


def _calls_of_saves(experiment: ExperimentSpec, runs: Path) -> int:
    """How many such calls an undisturbed run makes."""
    with tempfile.NamedTemporaryFile() as file:
        _in_a_process(_train_counting, experiment, runs, Path(file.name))
        return len(Path(file.name).read_bytes())


def _train_counting(experiment: ExperimentSpec, runs: Path, tally: Path) -> None:
    with tally.open("ab", buffering=0) as file:
        _watch_saves(lambda: file.write(b"."))
        _train(experiment, runs)


def _watch_saves(heard: Any) -> None:
    for name in IN_SAVE:
        original = getattr(os, name)

        def watched(*arguments: Any, _original: Any = original, **named: Any) -> Any:
            heard()
            return _original(*arguments, **named)

        setattr(os, name, watched)


def _in_words(outcome: KillResult) -> str:
    where = f"after {outcome.steps_recorded} steps" + (", a checkpoint half written" if outcome.partial else "")
    return f"{where}: " + ("equal" if not outcome.differing else f"DIFFERS in {', '.join(outcome.differing)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark from the command line; 1 when a resumed run differs."""
    parser = argparse.ArgumentParser(prog="cortexzoo bench kills", description="Kills and resumes training.")
    parser.add_argument("--kills", type=int, default=50, help="how many (50)")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments (0)")
    parser.add_argument("--json", type=Path, help="also write the outcomes to this file")
    options = parser.parse_args(arguments)
    if options.kills < 1:
        parser.error(f"--kills must be at least 1, got {options.kills}")
    torch.set_num_threads(1)
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = run(options.kills, options.seed, Path(folder), console)
    equal = sum(not outcome.differing for outcome in outcomes)
    halves = sum(outcome.partial for outcome in outcomes)
    console.print(
        f"{equal} of {len(outcomes)} resumed runs end bitwise equal; {halves} kills left a half-written checkpoint"
    )
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1) + "\n")
    return 0 if equal == len(outcomes) else 1
