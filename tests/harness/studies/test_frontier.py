"""Frontiers, sensitivity and shares follow from what the runs of a grid came to."""

import json
import math
from pathlib import Path

import pytest

from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.studies.frontier import Curve, Point, experiments, rate_grid, shares, sweep
from cortexzoo.harness.studies.frontier_plot import draw_frontier
from cortexzoo.harness.studies.multi_seed import Trained, trained
from cortexzoo.specs import ExperimentSpec, load_experiment
from tests.harness.trained import SMALL

RATES = (1e-4, 1e-3, 1e-2, 1e-1)


def point(rate: float, loss: float, ratio: float = 1.1, spikes: int = 0, ended: str = "finished") -> Point:
    return Point(rate=rate, runs=(Trained(0, loss, 6.0, ratio, spikes, ended),))


def curve(*losses: float, variant: str = "a", recipe: str = "r", ratios: tuple[float, ...] = (1.1,) * 4) -> Curve:
    points = [point(rate, loss, ratio) for rate, loss, ratio in zip(RATES, losses, ratios, strict=True)]
    return Curve(variant, recipe, tuple(points))


def test_the_grid_is_even_on_a_logarithmic_scale() -> None:
    assert rate_grid(1e-4, 1e-1, 4) == RATES
    assert rate_grid(1e-4, 1e-3, 3) == (1e-4, 3.2e-4, 1e-3)
    assert rate_grid(1e-4, 1e-3, 1) == (1e-4,)


def test_the_stability_frontier_ends_at_the_first_unstable_rate() -> None:
    assert curve(5, 4, 3, 2).stability_frontier == 1e-1
    assert curve(5, 4, 3, 2, ratios=(1.1, 1.5, 1.1, 1.1)).stability_frontier == 1e-4, "the bound itself is out"
    assert curve(5, 4, 3, 2, ratios=(2.0, 1.1, 1.1, 1.1)).stability_frontier is None
    spiked = (point(1e-4, 5), point(1e-3, 4), point(1e-2, 3, spikes=1))
    assert Curve("a", "r", spiked).stability_frontier == 1e-3
    stopped = (point(1e-4, 5), point(1e-3, math.inf, ended="gave up at step 9"))
    assert Curve("a", "r", stopped).stability_frontier == 1e-4


def test_one_bad_seed_makes_a_rate_unstable() -> None:
    good, bad = Trained(0, 3.0, 6.0, 1.1, 0, "finished"), Trained(1, 3.2, 6.0, 1.6, 0, "finished")
    both = Point(rate=1e-3, runs=(good, bad))
    assert not both.is_stable
    assert both.final_loss == pytest.approx(3.1)
    assert Point(rate=1e-3, runs=(good,)).is_stable


def test_the_learning_frontier_is_within_five_percent_of_the_best() -> None:
    assert curve(5, 2.09, 2.0, 2.2).learning_frontier == 1e-2
    assert curve(5, 2.0, 2.2, 2.09).learning_frontier == 1e-1
    assert curve(*[math.inf] * 4).learning_frontier is None
    assert curve(5, 2.0, 2.2, 2.3).best.rate == 1e-3


def test_sensitivity_is_the_mean_distance_to_the_best_capped_at_the_first_loss() -> None:
    assert curve(3, 2, 2.5, 2).sensitivity == pytest.approx((1 + 0 + 0.5 + 0) / 4)
    assert curve(3, 2, 2.5, math.inf).sensitivity == pytest.approx((1 + 0 + 0.5 + 4) / 4)
    assert curve(2, 2, 2, 2).sensitivity == 0


def test_shares_add_up_to_the_improvement() -> None:
    def best(loss: float, variant: str, recipe: str) -> Curve:
        return curve(6, 6, loss, 6, variant=variant, recipe=recipe)

    curves = [best(2.0, "new", "new"), best(2.6, "new", "old"), best(2.9, "old", "new"), best(3.0, "old", "old")]
    found = shares(curves)
    assert found is not None
    assert (found.start, found.end) == (curves[3], curves[0])
    assert found.model == pytest.approx((0.4 + 0.9) / 2)
    assert found.recipe == pytest.approx((0.1 + 0.6) / 2)
    assert shares(curves[:2]) is None
    lost = curve(*[math.inf] * 4, variant="new", recipe="old")
    assert shares([curves[0], lost, *curves[2:]]) is None


@pytest.mark.slow
def test_a_sweep_takes_a_run_that_gave_up_as_a_point_and_trains_nothing_twice(tmp_path: Path) -> None:
    small = [*SMALL, "recipe.clipping={kind: none}", "recipe.spikes={kind: none}", "recipe.recovery={kind: none}"]
    grid = experiments(["cortexgpt-stable"], ["robust"], (1e-3, 1e30), 1, small)
    assert {key[2]: spec.recipe.optimizer.learning_rate for key, spec in grid.items()} == {1e-3: 1e-3, 1e30: 1e30}
    calls: list[tuple[int, int]] = []
    (found,) = sweep(grid, tmp_path, 1, lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)]
    low, high = (each.runs[0] for each in found.points)
    assert low.ended == "finished" and math.isfinite(low.final_loss) and low.loss_ratio < 1.5
    assert high.ended.startswith("gave up at step ")
    assert (high.final_loss, found.stability_frontier, found.learning_frontier) == (math.inf, 1e-3, 1e-3)
    before = sorted(tmp_path.rglob("summary.json"))
    assert sweep(grid, tmp_path, 1, lambda done, total: None) == [found]
    assert sorted(tmp_path.rglob("summary.json")) == before
    run = Run.open(next(folder.parent for folder in before if "failed" in folder.read_text()))
    assert trained(run, 0) == high


def test_the_picture_is_drawn_whatever_the_numbers(tmp_path: Path) -> None:
    curves = [curve(3, 2, 2.5, math.inf, ratios=(1.0, 1.1, 2.0, math.inf)), curve(4, 3, 2, 2, variant="b", recipe="s")]
    draw_frontier(tmp_path / "picture.png", curves, title="two curves")
    assert (tmp_path / "picture.png").stat().st_size > 20_000
    assert json.dumps([each.as_json() for each in curves])


def test_the_spec_of_each_run_is_the_named_recipe_at_the_named_rate() -> None:
    grid = experiments(["transformer"], ["phase-1"], (2e-3,), 2, ["recipe.steps=7"])
    expected: list[ExperimentSpec] = [
        load_experiment(
            "transformer",
            ["recipe=phase-1", "recipe.steps=7", "recipe.optimizer.learning_rate=2e-3", f"seed={seed}"],
        )
        for seed in (0, 1)
    ]
    assert list(grid.values()) == expected
