"""The tables of the study of facts: means over runs, and the worst of them in brackets."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Row = tuple[str, ...]
Found = Sequence[Mapping[str, Any]]


def tables(found: Found) -> dict[str, list[Row]]:
    """Title → header and rows."""
    return {
        "One day, then four sleeps of a kind, or one that consolidates": _kinds(found),
        "Many sleeps": _sleeps(found),
        "Half of the keys bound anew on the second day": _rebound(found),
        **{
            f"Keys never taught, after {facts} facts": _unknown([run["unknown"][facts] for run in found])
            for facts in found[0]["unknown"]
        },
        "Facts answered by features of the store, all moved in one sleep": _capacity(found),
    }


def findings(found: Found) -> list[str]:
    """What is true of every run."""
    changed = sum(run["weights changed"] for run in found)
    which = "No weight of base or sidecars" if not changed else f"{changed} weights of the sidecars"
    return [f"{len(found)} runs. {which} changed.", "In brackets the worst run."]


def _kinds(found: Found) -> list[Row]:
    rows: list[Row] = [("sleep", "facts answered", "skill", "loss ×", "seconds")]
    for kind in found[0]["kinds"]:
        states = [run["kinds"][kind] for run in found]
        reference = [run["kinds"]["wiped, no sleep"]["loss"] for run in found]
        ratios = [state["loss"] / before for state, before in zip(states, reference, strict=True)]
        rows.append(
            (
                kind,
                _share(states, "facts", min),
                _share(states, "skill", min),
                _cell(ratios, max),
                _cell([state["seconds"] for state in states], max, 1),
            )
        )
    return rows


def _sleeps(found: Found) -> list[Row]:
    count = len(found[0]["sleeps"]["recall"])
    marks = sorted({0, count // 2, count - 1})
    rows: list[Row] = [("store", *(f"after {mark + 1}" for mark in marks), "skill", "loss ×", "longest sleep, s")]
    for label, name in (("C of all sleeps", "sleeps"), ("C of the last sleep alone", "sleeps without curvature")):
        states = [run[name] for run in found]
        before = [run["kinds"]["wiped, no sleep"]["loss"] for run in found]
        ratios = [state["loss"] / loss for state, loss in zip(states, before, strict=True)]
        recalls = (_cell([state["recall"][mark] for state in states], min) for mark in marks)
        longest = _cell([state["longest"] for state in states], max, 1)
        rows.append((label, *recalls, _share(states, "skill", min), _cell(ratios, max), longest))
    return rows


def _rebound(found: Found) -> list[Row]:
    names = list(found[0]["rebound"])
    worst: dict[str, Callable[..., float]] = {"old": max}
    cells = (_cell([run["rebound"][name] for run in found], worst.get(name, min)) for name in names)
    return [tuple(names), tuple(cells)]


def _unknown(curves: Sequence[Sequence[Mapping[str, float]]]) -> list[Row]:
    names = list(curves[0][0])
    rows: list[Row] = [tuple(names)]
    for points in zip(*curves, strict=True):
        cells = [f"{points[0][names[0]]:g}", _cell([point["recall"] for point in points], min)]
        cells += [_cell([point[name] for point in points], max, 4) for name in names[2:]]
        rows.append(tuple(cells))
    return rows


def _capacity(found: Found) -> list[Row]:
    curves = [run["capacity"] for run in found]
    counts = list(next(iter(curves[0].values())))
    rows: list[Row] = [("features", *(f"{count} facts" for count in counts))]
    for size in curves[0]:
        cells = (_cell([curve[size][count] for curve in curves], min) for count in counts)
        rows.append((str(size), *cells))
    return rows


def _share(states: Sequence[Mapping[str, float]], name: str, worst: Callable[..., float]) -> str:
    return _cell([state[name] for state in states], worst)


def _cell(values: Sequence[float], worst: Callable[..., float], digits: int = 3) -> str:
    if any(math.isnan(value) for value in values):
        return "–"
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({worst(values):.{digits}f})"
