"""The picture of a frontier: final loss and loss ratio over the learning rate, a line for each variant and recipe."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cortexzoo.harness.runs.colours import DARK_GREY, PALETTE
from cortexzoo.harness.runs.curves import STYLE, save
from cortexzoo.harness.studies.frontier import Curve
from cortexzoo.harness.studies.multi_seed import Trained
from cortexzoo.specs.properties import RATIO_BOUND

LINES = ("-", "--", ":", "-.")
HIGHEST_RATIO = 1000.0
"""Where a ratio is drawn that is higher, or infinite."""


def draw_frontier(path: Path, curves: Sequence[Curve], *, title: str) -> None:
    """Write the PNG at `path`: one colour a variant, one line style a recipe, the band from the best to the worst seed.

    A run that ended without a finite loss is a cross at the upper edge. Raises `RunStopped` when it cannot be written.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12, 5), layout="constrained")
        losses, ratios = figure.subplots(1, 2)
        _losses(losses, curves)
        _ratios(ratios, curves)
        for axes in (losses, ratios):
            axes.set_xscale("log")
            axes.set_xlabel("learning rate")
        losses.legend(fontsize=8, loc="best", handlelength=4)
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        save(figure, path)


def _losses(axes: Axes, curves: Sequence[Curve]) -> None:
    first = [run.first_loss for curve in curves for point in curve.points for run in point.runs]
    finite = [value for value in first if math.isfinite(value)]
    ceiling = 1.02 * max(finite, default=1.0)
    _lines(axes, curves, lambda run: run.final_loss, ceiling)
    axes.set_title("Final held-out loss, nats a byte")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(ticker.MaxNLocator(8))
    axes.yaxis.set_major_formatter(ticker.FormatStrFormatter("%.1f"))
    axes.yaxis.set_minor_locator(ticker.NullLocator())


def _ratios(axes: Axes, curves: Sequence[Curve]) -> None:
    _lines(axes, curves, lambda run: run.loss_ratio, HIGHEST_RATIO)
    axes.axhline(RATIO_BOUND, color=DARK_GREY, linewidth=1, linestyle="--")
    axes.annotate(
        f"bound {RATIO_BOUND:g}", (0.02, RATIO_BOUND), xycoords=("axes fraction", "data"), xytext=(0, 3),
        textcoords="offset points", fontsize=8,
    )  # fmt: skip
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 1.5, 2, 5)))
    axes.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    axes.set_title("Loss ratio: how far the probe loss rises above its lowest value")


def _lines(axes: Axes, curves: Sequence[Curve], value: Callable[[Trained], float], ceiling: float) -> None:
    variants = list(dict.fromkeys(curve.variant for curve in curves))
    recipes = list(dict.fromkeys(curve.recipe for curve in curves))
    for curve in curves:
        colour = PALETTE[variants.index(curve.variant) % len(PALETTE)]
        line = LINES[recipes.index(curve.recipe) % len(LINES)]
        rates = [point.rate for point in curve.points]
        seeds = [[min(value(run), ceiling) for run in point.runs] for point in curve.points]
        means = [sum(values) / len(values) for values in seeds]
        label = f"{curve.variant}, {curve.recipe}"
        axes.plot(rates, means, line, color=colour, marker="o", markersize=3.5, linewidth=1.6, label=label)
        axes.fill_between(
            rates, [min(v) for v in seeds], [max(v) for v in seeds], color=colour, alpha=0.12, linewidth=0
        )
        lost = [point.rate for point in curve.points if any(value(run) >= ceiling for run in point.runs)]
        axes.plot(lost, [ceiling] * len(lost), "x", color=colour, markersize=7)
