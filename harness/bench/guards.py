"""`guards`: a training step with guards, monitor and records, beside one with the optimiser and consolidation alone.

Two trainers of the same experiment take turns, ten steps each. Evaluating the probe batch is left out of the step's
time and stands beside it.
"""

import atexit
import tempfile
import time
from collections.abc import Callable, Sequence
from math import nan
from pathlib import Path
from statistics import median
from typing import Any

from cortexzoo.harness.bench.benchmark import Case
from cortexzoo.harness.runs.run_folder import CHECKPOINTS
from cortexzoo.harness.tracking.jsonl import JsonlSink
from cortexzoo.specs import load_experiment
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

    def results(self) -> dict[str, Any]:
        """What the policies that are left out would have measured."""
        unknown = ("validation_loss", "best_validation_loss", "loss_ratio", "raw_loss_ratio", "tokens_per_second")
        return {**dict.fromkeys(unknown, nan), "best_step": 0, "loss_spikes": 0, "gate_shares": {}}


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


class Guards:
    """`cortexgpt-stable` with 16 rows. `recovery_point_ms` and `probe_ms` are spread over the steps between two."""

    headline = ""

    def cases(self, quick: bool) -> Sequence[Case]:
        folder = Path(tempfile.mkdtemp())
        recorder = JsonlSink(folder)
        atexit.register(recorder.close)
        experiment = load_experiment("cortexgpt-stable", SELDOM)
        clocks = StepTimer(), StepTimer()
        guarded = build_trainer(
            experiment, recorder=recorder, folder=folder / CHECKPOINTS, refused_batches=folder / "refused"
        )
        plain = build_trainer(load_experiment("cortexgpt-stable", (*SELDOM, *BARE)))
        built_in = find_policy(guarded.policies, Probe)
        assert built_in is not None
        probe = TimedProbe(built_in, clocks[0])
        guarded.policies = [probe if p is built_in else p for p in guarded.policies if p.name not in LEFT_OUT]
        plain.policies = [policy for policy in plain.policies if policy.name in KEPT_WHEN_BARE]
        every = experiment.recipe.monitor.probe_every
        return [
            Case(
                "step",
                turn(guarded, clocks[0]),
                turn(plain, clocks[1]),
                figures=lambda: {
                    "recovery_point_ms": 1e3 * recovery_point(guarded),
                    "probe_ms": 1e3 * median(probe.seconds) / every,
                },
            )
        ]


def turn(trainer: TrainingLoop, clock: StepTimer) -> Callable[[], float]:
    """Mean seconds of a step in a turn; the first also begins the run, and does not count."""
    trainer.policies = [*trainer.policies, clock, Turn(BLOCK)]

    def take() -> float:
        clock.seconds.clear()
        clock.began = time.process_time()
        trainer.run()
        return sum(clock.seconds[1:]) / (len(clock.seconds) - 1)

    return take


def recovery_point(trainer: TrainingLoop) -> float:
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
