"""The picture of a benchmark: time over size, ours and the peer's, or the ratio of each case."""

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cortexzoo.harness.bench.result import BenchmarkResult, CaseResult
from cortexzoo.harness.runs.colours import BLUE, GREEN, ORANGE, PURPLE
from cortexzoo.harness.runs.curves import STYLE, save

COLOURS = (BLUE, ORANGE, GREEN, PURPLE)


def draw(path: Path, result: BenchmarkResult) -> None:
    """Write the PNG at `path`. Raises `RunStopped` when it cannot be written."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 4.6), layout="constrained")
        axes = figure.subplots()
        sized = [case for case in result.cases if case.size is not None]
        if sized:
            _times(axes, result, sized)
        else:
            _ratios(axes, result)
        figure.suptitle(f"{result.name}, beside {result.peer}", x=0.01, ha="left", fontsize=12, fontweight="bold")
        save(figure, path)


def _times(axes: Axes, result: BenchmarkResult, sized: list[CaseResult]) -> None:
    for number, series in enumerate(dict.fromkeys(case.series for case in sized)):
        cases = sorted((case for case in sized if case.series == series), key=lambda case: case.size or 0)
        colour, sizes = COLOURS[number % len(COLOURS)], [case.size or 0 for case in cases]
        name = series or result.name
        axes.plot(sizes, [case.ours_ms for case in cases], marker="o", markersize=4, color=colour, label=name)
        peers = [(case.size or 0, case.peer_ms) for case in cases if case.peer_ms is not None]
        if peers:
            axes.plot(*zip(*peers, strict=True), marker="^", markersize=4, ls="--", color=colour, label=f"{name}, peer")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("size")
    axes.set_ylabel("time, ms")
    axes.legend()


def _ratios(axes: Axes, result: BenchmarkResult) -> None:
    names = [case.name for case in result.cases]
    has_peer = any(case.ratio is not None for case in result.cases)
    axes.barh(names, [(case.ratio or 0.0) if has_peer else case.ours_ms for case in result.cases], color=COLOURS[0])
    axes.invert_yaxis()
    axes.set_xlabel("the peer's time over ours" if has_peer else "time, ms")
