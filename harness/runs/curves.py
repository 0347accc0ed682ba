"""The picture of a run: losses against what counting reaches, gate shares, swings, gradient norm, learning rate."""

import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cortexzoo.harness.errors import RunStopped
from cortexzoo.harness.runs.colours import BLUE, DARK_GREY, GREY, PALE_BLUE, RED, SOURCES
from cortexzoo.specs.metrics import GATE_SHARE

RECALL = "validation/recall/gap_"
TRAINING, PROBE, VALIDATION, REFERENCE = PALE_BLUE, BLUE, RED, DARK_GREY
LABEL_HEIGHT = 0.028
"""Least distance of two labels, as a fraction of the figure's height."""
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
}

Metrics = Sequence[Mapping[str, Any]]


def draw_curves(path: Path, metrics: Metrics, summary: Mapping[str, Any], *, title: str, bound: float) -> None:
    """Write the PNG at `path`; `bound` is the loss ratio's. Raises `RunStopped` when the file cannot be written."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12, 7.2), layout="constrained")
        panels: list[Callable[[Axes], None]] = [
            lambda axes: _loss_ratio(axes, metrics, summary, bound),
            lambda axes: _gradient_norm(axes, metrics),
            lambda axes: _learning_rate(axes, metrics),
        ]
        if any(name.startswith(GATE_SHARE) for line in metrics for name in line):
            panels.append(lambda axes: _gate_shares(axes, metrics))
        grid = figure.add_gridspec(2, len(panels), height_ratios=(1.6, 1))
        asks = any(name.startswith(RECALL) for line in metrics for name in line)
        _losses(figure.add_subplot(grid[0, : len(panels) - asks]), metrics, summary)
        if asks:
            _recall(figure.add_subplot(grid[0, -1]), metrics)
        for column, draw in enumerate(panels):
            axes = figure.add_subplot(grid[1, column])
            draw(axes)
            axes.set_xlabel("optimiser step")
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        save(figure, path)


def series(metrics: Metrics, name: str) -> tuple[list[int], list[float]]:
    """Steps and values of one metric, where it was measured."""
    points = [(int(line["step"]), float(line[name])) for line in metrics if name in line]
    return [step for step, _ in points], [value for _, value in points]


def _per_byte(metrics: Metrics, name: str, summary: Mapping[str, Any]) -> tuple[list[int], list[float]]:
    """A loss that is recorded in nats a token, in the unit of the held-out ones."""
    steps, values = series(metrics, name)
    bytes_per_token = summary.get("bytes_per_token") or 1.0
    return steps, [value / bytes_per_token for value in values]


def _losses(axes: Axes, metrics: Metrics, summary: Mapping[str, Any]) -> None:
    steps, values = _per_byte(metrics, "train/loss", summary)
    axes.plot(steps, values, color=TRAINING, linewidth=0.8, alpha=0.8, label="training")
    axes.plot(steps, _smoothed(values), color=PROBE, linewidth=1.8, label="training, running mean")
    axes.plot(
        *_per_byte(metrics, "probe/loss", summary), color=PROBE, linewidth=1.2, linestyle=":", label="fixed probe batch"
    )
    steps, values = series(metrics, "validation/loss")
    axes.plot(steps, values, "o-", color=VALIDATION, linewidth=1.8, markersize=4, label="held out")
    labels = [(value, f"held out {value:.3f}", VALIDATION) for value in values[-1:] if math.isfinite(value)]
    for name in ("ngram", "bigram", "unigram"):
        loss = summary.get(f"{name}_loss")
        if loss is not None:
            axes.axhline(loss, color=REFERENCE, linewidth=1, linestyle="--")
            labels.append((loss, f"{name.replace('ngram', 'n-gram')} counts {loss:.3f}", REFERENCE))
    axes.set_ylabel(f"loss, nats a {'byte' if summary.get('bytes_per_token') else 'token'}")
    axes.set_title("Loss")
    axes.legend(loc="upper center", ncols=4)
    axes.margins(x=0.01)
    _label_at_the_right(axes, labels)


def _label_at_the_right(axes: Axes, labels: list[tuple[float, str, str]]) -> None:
    """Texts beside the axes at their values, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    gap = LABEL_HEIGHT / axes.get_position().height
    lowest = -math.inf
    for value, text, colour in sorted(labels):
        lowest = max((value - low) / (high - low), lowest + gap)
        axes.annotate(
            text, (1, lowest), xycoords="axes fraction", xytext=(6, 0), textcoords="offset points", va="center",
            color=colour, fontsize=9, annotation_clip=False,
        )  # fmt: skip


def _gate_shares(axes: Axes, metrics: Metrics) -> None:
    """Stacked shares with the last value of each; the rest to 1 went to an empty source."""
    prefix = GATE_SHARE
    lines = [line for line in metrics if any(name.startswith(prefix) for name in line)]
    found = {name.removeprefix(prefix) for line in lines for name in line if name.startswith(prefix)}
    sources = [*(source for source in SOURCES if source in found), *sorted(found - set(SOURCES))]
    steps = [int(line["step"]) for line in lines]
    shares = [[float(line.get(prefix + source, 0.0)) for line in lines] for source in sources]
    colours = [SOURCES.get(source, GREY) for source in sources]
    axes.stackplot(steps, shares, colors=colours, alpha=0.9)
    axes.set_ylim(0, 1)
    axes.set_title("Gate shares")
    axes.margins(x=0)
    last = [values[-1] for values in shares]
    middles = [sum(last[:i]) + share / 2 for i, share in enumerate(last)]
    texts = [f"{source.replace('_', ' ')} {share:.2f}" for source, share in zip(sources, last, strict=True)]
    _label_at_the_right(axes, list(zip(middles, texts, colours, strict=True)))


def _recall(axes: Axes, metrics: Metrics) -> None:
    """A line for each gap that is trained on, the longest the darkest."""
    gaps = sorted({int(name.removeprefix(RECALL)) for line in metrics for name in line if name.startswith(RECALL)})
    shades = matplotlib.colormaps["Blues"]
    for place, gap in enumerate(gaps, start=1):
        steps, values = series(metrics, f"{RECALL}{gap}")
        axes.plot(steps, values, "o-", color=shades(0.25 + 0.75 * place / len(gaps)), markersize=3, label=str(gap))
    axes.set_ylim(-0.02, 1.05)
    axes.set_title("Held-out recall by gap")
    axes.set_xlabel("optimiser step")
    axes.legend(loc="lower right", fontsize=8)


def _loss_ratio(axes: Axes, metrics: Metrics, summary: Mapping[str, Any], bound: float) -> None:
    steps, values = series(metrics, "probe/loss")
    window = int(summary.get("swing_window", 50))
    ratios = []
    for i, (step, value) in enumerate(zip(steps, values, strict=True)):
        recent = [v for s, v in zip(steps[: i + 1], values[: i + 1], strict=True) if s >= step - window]
        ratios.append(value / min(recent))
    axes.plot(steps, ratios, color=PROBE, linewidth=1.5)
    axes.axhline(bound, color=VALIDATION, linewidth=1, linestyle="--")
    axes.annotate(
        f"bound {bound:g}", (0.02, bound), xycoords=("axes fraction", "data"), xytext=(0, 3),
        textcoords="offset points", color=VALIDATION, fontsize=8,
    )  # fmt: skip
    highest = max((ratio for ratio in ratios if math.isfinite(ratio)), default=1.0)
    if highest > 3 * bound:
        axes.set_yscale("log")
    else:
        axes.set_ylim(0.98, max(bound, highest) * 1.08)
    axes.set_title("Loss ratio of the probe batch")


def _gradient_norm(axes: Axes, metrics: Metrics) -> None:
    steps, values = series(metrics, "train/gradient_norm")
    axes.plot(steps, values, color=PROBE, linewidth=1)
    if any(value > 0 for value in values):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    axes.set_title("Gradient norm")


def _learning_rate(axes: Axes, metrics: Metrics) -> None:
    steps, values = series(metrics, "train/learning_rate")
    axes.plot(steps, values, color=PROBE, linewidth=1.5)
    axes.set_ylim(0, 1.08 * max(values, default=1.0))
    axes.ticklabel_format(axis="y", style="scientific", scilimits=(-2, 3), useMathText=True)
    axes.set_title("Learning rate")


def _smoothed(values: Sequence[float]) -> list[float]:
    """Centred running mean over a twentieth of the curve; it steps over what is not finite."""
    radius = len(values) // 40
    smooth = []
    for i in range(len(values)):
        near = [value for value in values[max(0, i - radius) : i + radius + 1] if math.isfinite(value)]
        smooth.append(sum(near) / len(near) if near else math.nan)
    return smooth


def save(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG, whole or not at all. Raises `RunStopped`."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".png")
    try:
        with os.fdopen(handle, "wb") as file:
            figure.savefig(file, dpi=150, format="png")
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as problem:
        Path(temporary).unlink(missing_ok=True)
        raise RunStopped(f"{path}: cannot be written: {problem.strerror or problem}") from problem
