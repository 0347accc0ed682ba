"""The dashboard draws itself, follows runs, and ends."""

import asyncio
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from cortexzoo.harness.bench.generated_runs import experiment, generated_run, metrics_of
from cortexzoo.harness.monitor.dashboard import Dashboard, without_fonts
from cortexzoo.harness.monitor.panel import LEAST_EVENTS, panel
from cortexzoo.harness.monitor.run_view import RunView
from cortexzoo.harness.monitor.sources import FolderSource
from cortexzoo.harness.tracking.jsonl import JsonlSink


def test_it_follows_a_run_until_it_is_left(tmp_path: Path) -> None:
    run = generated_run(tmp_path, experiment(), steps=2, finished=False)
    view = RunView(FolderSource(run))
    view.look()
    board = Dashboard([view])

    async def use() -> tuple[str, str]:
        async with board.run_test(size=(100, 50)) as pilot:
            await pilot.pause()
            before = board.export_screenshot()
            sink = JsonlSink(run.path)
            sink.metrics(3, metrics_of(3))
            sink.event(3, "rollback", {"cause": "loss 9 is a spike"})
            sink.close()
            await asyncio.sleep(1.3)
            await pilot.pause()
            after = board.export_screenshot()
            await pilot.press("q")
        return before, after

    before, after = (text.replace("&#160;", " ") for text in asyncio.run(use()))
    assert "step 2 of 500" in before and "step 3 of 500" in after
    assert "rollback" not in before and "rollback" in after
    assert board.return_code == 0


@pytest.mark.parametrize("height", [45, 60, 90])
def test_charts_use_the_whole_height(height: int, tmp_path: Path) -> None:
    run = generated_run(tmp_path, experiment(), steps=30, finished=False)
    view = RunView(FolderSource(run))
    view.look()
    console = Console(width=80, file=StringIO())
    lines = console.render_lines(panel(view, 80, height), pad=False)
    assert height - LEAST_EVENTS <= len(lines) <= height


def test_a_picture_loads_no_font() -> None:
    svg = "<style>@font-face { font-family: a; src: url(https://x) }\n.b { fill: red }</style>"
    assert without_fonts(svg) == "<style>.b { fill: red }</style>"
