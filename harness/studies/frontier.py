"""How far the learning rate can be raised: final loss and loss ratio over a grid of rates, and what follows from them.

Source of LR sensitivity: Wortsman et al. 2023, arXiv:2309.14322, Section 3.1: the mean over the grid of
min(loss, first loss) − lowest loss.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from cortexzoo.harness.studies.multi_seed import AllSeeds, Trained, train_counted, trained
from cortexzoo.specs import ExperimentSpec, load_experiment
from cortexzoo.specs.properties import RATIO_BOUND

LEARNING_TOLERANCE = 0.05
"""The learning frontier is the highest rate whose final loss is at most so much above the best, relative."""


@dataclass(frozen=True)
class Point(AllSeeds):
    """All seeds at one rate."""

    rate: float

    @property
    def spikes(self) -> int:
        """Of all seeds together."""
        return sum(run.spikes for run in self.runs)

    @property
    def is_stable(self) -> bool:
        """No seed swings, spikes or gives up."""
        return self.loss_ratio < RATIO_BOUND and not self.spikes and all(run.ended == "finished" for run in self.runs)


@dataclass(frozen=True)
class Curve:
    """One variant with one recipe over the grid, rates ascending."""

    variant: str
    recipe: str
    points: tuple[Point, ...]

    @property
    def best(self) -> Point:
        """The rate with the lowest final loss."""
        return min(self.points, key=lambda point: point.final_loss)

    @property
    def stability_frontier(self) -> float | None:
        """The highest rate up to which every rate is stable. None: the lowest is not."""
        highest = None
        for point in self.points:
            if not point.is_stable:
                break
            highest = point.rate
        return highest

    @property
    def learning_frontier(self) -> float | None:
        """The highest rate whose final loss is within `LEARNING_TOLERANCE` of the best. None: no run ended finite."""
        if not math.isfinite(self.best.final_loss):
            return None
        bound = self.best.final_loss * (1 + LEARNING_TOLERANCE)
        return max(point.rate for point in self.points if point.final_loss <= bound)

    @property
    def sensitivity(self) -> float:
        """Mean over the grid of min(loss, first loss) − lowest loss, nats a byte: 0 when the rate does not matter."""
        first = fmean(run.first_loss for point in self.points for run in point.runs)
        lowest = min(self.best.final_loss, first)
        return fmean(min(point.final_loss, first) for point in self.points) - lowest

    def as_json(self) -> dict[str, Any]:
        """Every run and what follows from them."""
        return {
            "variant": self.variant,
            "recipe": self.recipe,
            "best_rate": self.best.rate,
            "best_loss": self.best.final_loss,
            "stability_frontier": self.stability_frontier,
            "learning_frontier": self.learning_frontier,
            "sensitivity": self.sensitivity,
            "points": [
                {"rate": point.rate, "final_loss": point.final_loss, "loss_ratio": point.loss_ratio,
                 "spikes": point.spikes, "runs": [asdict(run) for run in point.runs]}
                for point in self.points
            ],
        }  # fmt: skip


def rate_grid(lowest: float, highest: float, count: int) -> tuple[float, ...]:
    """`count` rates, evenly spread on a logarithmic scale, with two significant digits."""
    if count == 1:
        return (lowest,)
    ratio = math.log(highest / lowest) / (count - 1)
    return tuple(float(f"{lowest * math.exp(i * ratio):.1e}") for i in range(count))


def experiments(
    specs: Sequence[str], recipes: Sequence[str], rates: Sequence[float], seeds: int, overrides: Sequence[str]
) -> dict[tuple[str, str, float, int], ExperimentSpec]:
    """Every run of the grid by (spec, recipe, rate, seed). `overrides` apply to all. Raises `SpecError`."""
    grid: dict[tuple[str, str, float, int], ExperimentSpec] = {}
    for spec, recipe, rate in product(specs, recipes, rates):
        changes = (f"recipe={recipe}", f"recipe.optimizer.learning_rate={rate:g}", *overrides)
        first = load_experiment(spec, changes)
        grid |= {(spec, recipe, rate, seed): first.model_copy(update={"seed": seed}) for seed in range(seeds)}
    return grid


def sweep(
    grid: dict[tuple[str, str, float, int], ExperimentSpec], runs: Path, jobs: int, done: Callable[[int, int], None]
) -> list[Curve]:
    """Train what is missing of the grid; one curve for each spec and recipe, in the order in which they were named.

    `done(finished, total)` is called after each run.
    """
    found = train_counted(list(grid.values()), runs, jobs, done, accept_stopped=True)
    curves: dict[tuple[str, str], dict[float, list[Trained]]] = {}
    for (spec, recipe, rate, seed), experiment in grid.items():
        measured = trained(found[experiment.hash()], seed)
        curves.setdefault((spec, recipe), {}).setdefault(rate, []).append(measured)
    return [
        Curve(spec, recipe, tuple(Point(tuple(points[rate]), rate) for rate in sorted(points)))
        for (spec, recipe), points in curves.items()
    ]


@dataclass(frozen=True)
class Shares:
    """Which part of an improvement from one curve to another is the model's, which the recipe's: nats a byte."""

    start: Curve
    end: Curve
    model: float
    recipe: float


def shares(curves: Sequence[Curve]) -> Shares | None:
    """From the last named variant and recipe to the first ones, each at its best rate.

    None: fewer than two of either, or one of the four never ended with a finite loss.
    A part is the mean of what it gives before and after the other has been exchanged (Shapley's value for two players).
    """
    start, end = curves[-1], curves[0]
    by_name = {(curve.variant, curve.recipe): curve.best.final_loss for curve in curves}
    if start.variant == end.variant or start.recipe == end.recipe:
        return None
    model_first = by_name[end.variant, start.recipe]
    recipe_first = by_name[start.variant, end.recipe]
    before, after = start.best.final_loss, end.best.final_loss
    model = ((before - model_first) + (recipe_first - after)) / 2
    recipe = ((before - recipe_first) + (model_first - after)) / 2
    if not math.isfinite(model + recipe):
        return None
    return Shares(start, end, model, recipe)
