"""The picture of a run is drawn for whatever a run recorded, and is whole or not there."""

import math
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

from cortexzoo.harness.errors import RunStopped
from cortexzoo.harness.runs.curves import draw_curves, series

SUMMARY = {"bigram_loss": 2.3, "unigram_loss": 3.2, "swing_window": 50}


def recorded(steps: int, gate: bool = True) -> list[dict[str, Any]]:
    lines = []
    for step in range(1, steps + 1):
        line = {"step": step, "train/loss": 5 / step, "train/gradient_norm": 1 / step, "train/learning_rate": 1e-3}
        if step % 5 == 0:
            line |= {"probe/loss": 5 / step, "validation/loss": 4 / step}
        if gate:
            line |= {"memory/gate_share/current": 0.4, "memory/gate_share/short_term": 0.6}
        lines.append(line)
    return lines


BAD = [{"step": 1, "train/loss": math.nan, "train/gradient_norm": math.inf, "probe/loss": math.inf}]


@pytest.mark.parametrize(
    ("metrics", "summary"),
    [
        (recorded(40), SUMMARY),
        (recorded(40, gate=False), SUMMARY),
        (recorded(1), {}),
        ([], {}),
        ([*BAD, *recorded(10)], SUMMARY),
        (BAD, SUMMARY),
    ],
    ids=["whole", "without gate", "one step", "nothing", "partly not finite", "only not finite"],
)
def test_every_record_gives_a_picture(tmp_path: Path, metrics: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    path = tmp_path / "curves.png"
    draw_curves(path, metrics, summary, title="tiny", bound=1.5)
    assert [file.name for file in tmp_path.iterdir()] == ["curves.png"]
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.width >= 1200


def test_a_series_holds_only_the_steps_at_which_it_was_measured() -> None:
    assert series(recorded(12), "probe/loss") == ([5, 10], [1.0, 0.5])


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(RunStopped, match=r"curves\.png: cannot be written: No space left on device"):
        draw_curves(tmp_path / "curves.png", recorded(3), SUMMARY, title="tiny", bound=1.5)
    assert list(tmp_path.iterdir()) == []


def test_held_out_recall_has_a_line_for_each_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr("cortexzoo.harness.runs.curves.save", lambda figure, path: drawn.append(figure))
    asked = {
        4: {"validation/recall/gap_16": 0.25, "validation/recall/gap_4": 0.5},
        8: {"validation/recall/gap_4": 0.75},
    }
    metrics = [{**line, **asked.get(line["step"], {})} for line in recorded(10)]
    draw_curves(tmp_path / "curves.png", metrics, {}, title="tiny", bound=1.5)
    draw_curves(tmp_path / "curves.png", recorded(10), {}, title="tiny", bound=1.5)
    with_recall, disabled = ({axes.get_title(loc="left"): axes for axes in figure.axes} for figure in drawn)
    lines = with_recall["Held-out recall by gap"].get_lines()
    assert [line.get_label() for line in lines] == ["4", "16"]
    assert [list(line.get_ydata()) for line in lines] == [[0.5, 0.75], [0.25]]
    assert "Held-out recall by gap" not in disabled
