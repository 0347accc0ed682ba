"""The picture of a recall curve: answers right over the gap, a line for each way of asking."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from cortexzoo.harness.runs.colours import BLUE, GREEN, ORANGE, PURPLE
from cortexzoo.harness.runs.curves import STYLE, save

COLOURS = (BLUE, ORANGE, GREEN, PURPLE)
MARKERS = "os^d"


def draw_recall(path: Path, found: Mapping[str, Mapping[int, Sequence[float]]], chunk: int, *, title: str) -> None:
    """Write the PNG at `path`: the mean over seeds, and a band from the worst to the best.

    Raises `RunStopped` when it cannot be written.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 4.6), layout="constrained")
        axes = figure.subplots()
        for (name, by_gap), colour, marker in zip(found.items(), COLOURS, MARKERS, strict=False):
            tokens = [gap * chunk for gap in by_gap]
            shares = np.array(list(by_gap.values()))
            axes.plot(tokens, shares.mean(axis=1), marker=marker, markersize=4, color=colour, label=name)
            axes.fill_between(tokens, shares.min(axis=1), shares.max(axis=1), color=colour, alpha=0.15)
        axes.set_xscale("log")
        axes.set_xlabel("gap between facts and questions, tokens")
        axes.set_ylabel("whole answers right")
        axes.set_ylim(-0.02, 1.04)
        axes.legend(loc="lower left")
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        save(figure, path)
