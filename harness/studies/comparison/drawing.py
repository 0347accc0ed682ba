"""Pictures of a comparison: a line for the mean over seeds, a band of one standard deviation, a colour a result."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from jaxtyping import Float, Int
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy import ndarray

from cortexzoo.harness.runs.colours import DARK_GREY, PALETTE
from cortexzoo.harness.runs.curves import STYLE, save
from cortexzoo.harness.studies.comparison.measures import FINAL_LOSS, with_unit_of
from cortexzoo.harness.studies.comparison.reading import Record
from cortexzoo.harness.studies.comparison.result import Comparison, ContenderResult
from cortexzoo.specs.metrics import GATE_SHARE
from cortexzoo.specs.properties import RATIO_BOUND

SMOOTHED_OVER = 20
"""A training loss is drawn as its running mean over this many steps: batch noise hides everything else."""
MOST_DRAWN = 4000
"""Points of a curve, evenly spread where there are more: a picture has fewer across."""


@dataclass(frozen=True)
class Curve:
    """One metric over several seeds."""

    steps: Int[ndarray, " points"]
    mean: Float[ndarray, " points"]
    sd: Float[ndarray, " points"]
    """0 where only one seed was measured."""


def mean_curve(records: Sequence[Record], metric: str, window: int = 1) -> Curve | None:
    """Mean and spread at each step, over the seeds that have it, at most `MOST_DRAWN`; None: not measured.

    With `window` each seed is smoothed first, by a trailing mean over that many points.
    """
    series = [record.series[metric] for record in records if metric in record.series]
    if not series:
        return None
    steps = np.unique(np.concatenate([each.steps for each in series]))
    table = np.full((len(series), len(steps)), np.nan)
    for row, each in zip(table, series, strict=True):
        row[np.searchsorted(steps, each.steps)] = _smoothed(each.values, window)
    table[~np.isfinite(table)] = np.nan
    counts = np.isfinite(table).sum(0)
    kept = counts > 0
    table, steps, counts = table[:, kept], steps[kept], counts[kept]
    mean = np.nansum(table, 0) / counts
    spread = np.sqrt(np.nansum((table - mean) ** 2, 0) / np.maximum(counts - 1, 1))
    drawn = np.linspace(0, len(steps) - 1, min(len(steps), MOST_DRAWN)).astype(int)
    return Curve(steps[drawn], mean[drawn], np.where(counts > 1, spread, 0.0)[drawn])


def figures(comparison: Comparison) -> dict[str, Figure]:
    """Every picture by its name."""
    with matplotlib.rc_context(STYLE):
        drawn = {"losses": _losses(comparison), "stability": _stability(comparison)}
        if any(record.gate_shares for record in comparison.records):
            drawn["gates"] = _gates(comparison)
    return drawn


def save_all(drawn: dict[str, Figure], folder: Path) -> None:
    """Write each picture as a PNG. Raises `RunStopped`."""
    with matplotlib.rc_context(STYLE):
        for name, figure in drawn.items():
            save(figure, folder / f"{name}.png")


def as_svg(figure: Figure) -> bytes:
    """The picture as SVG; the same picture gives the same bytes."""
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "cortexzoo", "svg.fonttype": "path"}):
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
        return out.getvalue()


def _losses(comparison: Comparison) -> Figure:
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    held_out, training = figure.subplots(1, 2)
    _lines(held_out, comparison.contenders, "validation/loss", marker="o")
    held_out.set_title("Held-out loss")
    _references(held_out, comparison)
    _lines(training, comparison.contenders, "train/loss", window=SMOOTHED_OVER)
    training.set_title(f"Training loss, mean over {SMOOTHED_OVER} steps")
    held_out.set_ylabel(with_unit_of(comparison.records, FINAL_LOSS).unit)
    training.set_ylabel("nats a token")
    held_out.legend(loc="best")
    return figure


def _references(axes: Axes, comparison: Comparison) -> None:
    """What counting reaches, where all runs agree on it."""
    for name in ("unigram", "bigram"):
        found = {record.summary.get(f"{name}_loss") for record in comparison.records}
        if len(found) == 1 and (loss := found.pop()) is not None:
            axes.axhline(loss, color=DARK_GREY, linewidth=1, linestyle="--")
            axes.annotate(f"{name} counts {loss:.3f}", (0.01, loss), xycoords=("axes fraction", "data"),
                          xytext=(0, 3), textcoords="offset points", fontsize=8)  # fmt: skip


def _stability(comparison: Comparison) -> Figure:
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    ratios, norms = figure.subplots(1, 2)
    _lines(ratios, comparison.contenders, "stability/loss_ratio")
    ratios.axhline(RATIO_BOUND, color=DARK_GREY, linewidth=1, linestyle="--")
    ratios.annotate(f"bound {RATIO_BOUND:g}", (0.01, RATIO_BOUND), xycoords=("axes fraction", "data"),
                    xytext=(0, 3), textcoords="offset points", fontsize=8)  # fmt: skip
    ratios.set_title("Loss ratio so far: the largest rise of the probe loss")
    if ratios.get_ylim()[1] > 3 * RATIO_BOUND:
        ratios.set_yscale("log")
        ratios.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        ratios.yaxis.set_minor_formatter(ticker.NullFormatter())
    _lines(norms, comparison.contenders, "stability/gradient_percentile_90")
    norms.set_yscale("log")
    norms.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    norms.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    norms.yaxis.set_minor_formatter(ticker.NullFormatter())
    norms.set_title("Gradient norm, 90th percentile of 100 steps")
    ratios.legend(loc="best")
    return figure


def _gates(comparison: Comparison) -> Figure:
    sources = list(dict.fromkeys(
        name for record in comparison.records for name in record.series if name.startswith(GATE_SHARE)
    ))  # fmt: skip
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    panels = figure.subplots(1, len(sources), sharey=True, squeeze=False)[0]
    for axes, source in zip(panels, sources, strict=True):
        _lines(axes, comparison.contenders, source)
        axes.set_ylim(0, 1)
        name = source.removeprefix(GATE_SHARE).replace("_", " ").replace("$", r"\$")  # no mathematics in names
        axes.set_title(f"Gate share, {name}")
    handles = {text: line for axes in panels for line, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    panels[-1].legend(handles.values(), handles.keys(), loc="best")
    return figure


def _lines(
    axes: Axes, contenders: Sequence[ContenderResult], metric: str, *, marker: str = "", window: int = 1
) -> None:
    for result, colour in zip(contenders, colours(len(contenders)), strict=True):
        curve = mean_curve(result.records, metric, window)
        if curve is None:
            continue
        axes.plot(
            curve.steps, curve.mean, color=colour, marker=marker, markersize=3.5, linewidth=1.6, label=result.label
        )
        if curve.sd.any():
            low, high = curve.mean - curve.sd, curve.mean + curve.sd
            axes.fill_between(curve.steps, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.set_xlabel("optimiser step")
    axes.margins(x=0.01)


def colours(count: int) -> list[str]:
    """One a result; they repeat after six."""
    return [PALETTE[index % len(PALETTE)] for index in range(count)]


def _smoothed(values: Float[ndarray, " points"], window: int) -> Float[ndarray, " points"]:
    if window == 1 or not len(values):
        return values
    total = np.cumsum(np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0))
    counts = np.cumsum(np.isfinite(values))
    total[window:] -= total[:-window].copy()
    counts[window:] -= counts[:-window].copy()
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)
