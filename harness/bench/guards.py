"""What guards and tracking cost a training step: `cortexzoo bench guards [--rounds 6] [--json FILE]`.

Two trainers of the same experiment take turns in one process, block by block: one with the recipe's guards, monitor and
JSONL records, one with the optimiser and consolidation alone. Reported are the medians of the processor time of a step
(other programs slow the clock on the wall, and not this one), and their ratio. The probe batch is evaluated every few
steps outside what is timed, and its cost is told apart.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from rich.console import Console

from cortexzoo.harness.runs.run_folder import CHECKPOINTS
from cortexzoo.harness.tracking.jsonl import JsonlSink
from cortexzoo.specs import ExperimentSpec, load_experiment
from cortexzoo.zoo.build import build_trainer
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer, find_policy
from cortexzoo.zoo.training.policies.guards.recovery import Recovery
from cortexzoo.zoo.training.policies.measuring.probe import Probe

BLOCK = 10
"""Steps of one turn."""
BARE = ("recipe.clipping={kind: none}", "recipe.spikes={kind: none}", "recipe.recovery={kind: none}")
LONG_STEP = "recipe.batch_size=16"
"""Makes a step of more than 100 ms of the shipped experiment."""
SELDOM = (
    LONG_STEP,
    "recipe.steps=1000000",
    "recipe.monitor.validate_every=1000000",
    "recipe.monitor.checkpoint_every=1000000",
)
KEPT_WHEN_BARE = frozenset({"consolidation", "bench_clock"})
LEFT_OUT = frozenset({"validation", "checkpoints", "progress"})
"""What costs the same whatever guards there are, and would only add noise."""


@dataclass(frozen=True)
class Figures:
    """Milliseconds a step; medians over all blocks."""

    guarded_ms: float
    bare_ms: float
    ratio: float
    """Median of the guarded steps over the median of the bare ones."""
    recovery_point_ms: float
    """What a step with a new recovery point took beyond the median, spread over the interval."""
    probe_ms: float
    """One evaluation of the probe batch."""
    probe_every: int


class StepTimer(Policy):
    """Times each step from its ready batch to its end; it stands last."""

    name = "bench_clock"

    def __init__(self) -> None:
        self.began = 0.0
        self.seconds: list[float] = []

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        self.seconds.append(time.process_time() - self.began)
        self.began = time.process_time()

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        self.began = time.process_time()


class Turn(Policy):
    """Ends the run after so many steps, so that the other trainer has its turn."""

    name = "bench_turn"

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        if step.number % self.steps == 0:
            trainer.stop("interrupted")


class TimedProbe(Policy):
    """The probe of a trainer, its time taken out of the step's."""

    def __init__(self, probe: Policy, clock: StepTimer) -> None:
        self.probe, self.clock = probe, clock
        self.name = probe.name
        self.seconds: list[float] = []

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        began = time.process_time()
        self.probe.step_taken(trainer, step)
        spent = time.process_time() - began
        if "probe/loss" in step.metrics:
            self.seconds.append(spent)
            self.clock.began += spent


def run(experiment: ExperimentSpec, bare: ExperimentSpec, rounds: int, folder: Path) -> Figures:
    """Let both trainers take `rounds` turns of `BLOCK` steps each, after one turn to warm up."""
    clocks = StepTimer(), StepTimer()
    recorder = JsonlSink(folder)
    guarded = build_trainer(experiment, recorder=recorder, folder=folder / CHECKPOINTS, refused_batches=folder / "no")
    plain = build_trainer(bare)
    built_in = find_policy(guarded.policies, Probe)
    assert built_in is not None
    probe = TimedProbe(built_in, clocks[0])
    guarded.policies = [probe if p is built_in else p for p in guarded.policies if p.name not in LEFT_OUT]
    plain.policies = [policy for policy in plain.policies if policy.name in KEPT_WHEN_BARE]
    for trainer, clock in zip((guarded, plain), clocks, strict=True):
        trainer.policies += [clock, Turn(BLOCK)]
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        for which in (0, 1) if turn % 2 else (1, 0):
            clocks[which].seconds.clear()
            clocks[which].began = time.process_time()
            (guarded, plain)[which].run()
            if turn:
                # The first step of a turn also begins the run.
                times[which].extend(clocks[which].seconds[1:])
    recorder.close()
    point = _recovery_point(guarded)
    with_guards, without_guards = median(times[0]), median(times[1])
    return Figures(
        1e3 * with_guards,
        1e3 * without_guards,
        with_guards / without_guards,
        1e3 * point,
        1e3 * median(probe.seconds),
        experiment.recipe.monitor.probe_every,
    )


def _recovery_point(trainer: TrainingLoop) -> float:
    """Seconds a step for making and checking recovery points, spread over their interval."""
    from cortexzoo.zoo.training.state.recovery_point import RecoveryPoint, first_non_finite

    recovery = find_policy(trainer.policies, Recovery)
    if recovery is None:
        return 0.0
    seconds = []
    for _ in range(5):
        began = time.process_time()
        first_non_finite(trainer)
        RecoveryPoint.of(trainer)
        seconds.append(time.process_time() - began)
    return median(seconds) / recovery.spec.every


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(prog="cortexzoo bench guards", description="Times guards and tracking.")
    parser.add_argument("--rounds", type=int, default=6, help="turns of ten steps that each trainer takes (6)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {options.rounds}")
    torch.set_num_threads(1)
    experiment = load_experiment("cortexgpt-stable", SELDOM)
    bare = load_experiment("cortexgpt-stable", (*SELDOM, *BARE))
    with tempfile.TemporaryDirectory() as folder:
        figures = run(experiment, bare, options.rounds, Path(folder))
    Console().print(
        f"a step takes {figures.guarded_ms:.1f} ms with guards and tracking and {figures.bare_ms:.1f} ms without: "
        f"{100 * (figures.ratio - 1):+.1f} %\n"
        f"recovery points add {figures.recovery_point_ms:.2f} ms a step\n"
        f"the probe batch takes {figures.probe_ms:.1f} ms, every {figures.probe_every} steps"
    )
    if options.json is not None:
        options.json.write_text(json.dumps(asdict(figures), indent=1) + "\n", encoding="utf-8")
    return 0
