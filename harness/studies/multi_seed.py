"""Training many experiments while somebody counts, and what the runs of one with several seeds came to."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from cortexzoo.harness.parallel.train_missing import train_missing
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.studies.spikes import count_spikes
from cortexzoo.specs import ExperimentSpec


@dataclass(frozen=True)
class Trained:
    """What one run of the grid came to. A run that gave up, or ended not finite, is a point like every other."""

    seed: int
    final_loss: float
    """Held-out loss at the end, nats a byte; infinity: there was none, or it was not finite."""
    first_loss: float
    """Training loss before the first step."""
    loss_ratio: float
    spikes: int
    ended: str
    """`finished`, or at which step training gave up."""


@dataclass(frozen=True)
class AllSeeds:
    """The runs that differ by their seed only."""

    runs: tuple[Trained, ...]

    @property
    def final_loss(self) -> float:
        """Mean over seeds, nats a byte."""
        return fmean(run.final_loss for run in self.runs)

    @property
    def loss_ratio(self) -> float:
        """The worst seed's."""
        return max(run.loss_ratio for run in self.runs)


def train_counted(
    experiments: Sequence[ExperimentSpec],
    runs: Path,
    jobs: int,
    done: Callable[[int, int], None],
    *,
    accept_stopped: bool = False,
) -> dict[str, Run]:
    """Train what is missing; the runs by the hash of their experiment. `done(finished, total)` is called after each.

    Raises as `train_missing`.
    """
    total = len({experiment.hash() for experiment in experiments})
    found: dict[str, Run] = {}
    for experiment, run in train_missing(experiments, runs, jobs=jobs, accept_stopped=accept_stopped):
        found[experiment.hash()] = run
        done(len(found), total)
    return found


def trained(run: Run, seed: int) -> Trained:
    """What a run came to, from its records."""
    summary = run.summary
    losses = [float(line["train/loss"]) for line in run.metrics() if "train/loss" in line]
    gave_up = summary.get("gave_up_at")
    final = summary.get("validation_loss") if gave_up is None else None
    ratio = float(summary.get("loss_ratio", math.inf))
    return Trained(
        seed=seed,
        final_loss=math.inf if final is None or not math.isfinite(final) else final,
        first_loss=losses[0] if losses else math.inf,
        loss_ratio=math.inf if math.isnan(ratio) else ratio,
        spikes=count_spikes(losses),
        ended="finished" if gave_up is None else f"gave up at step {gave_up}",
    )
