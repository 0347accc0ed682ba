"""The command that follows runs while they train. Everything heavy is imported inside it."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from cortexzoo.harness.cli.errors import BadInput
from cortexzoo.harness.cli.output import say, without_foreign_warnings


def monitor(
    targets: Annotated[list[Path], typer.Argument(metavar="RUN|DIR…", help="Runs, or folders that hold runs.")],
    snapshot: Annotated[
        Path | None, typer.Option("--snapshot", metavar="FILE.svg", help="Draw once, into a picture, and end.")
    ] = None,
    source: Annotated[
        Literal["jsonl", "aim"], typer.Option("--source", help="Read the run folders, or Aim's repository.")
    ] = "jsonl",
    size: Annotated[
        str | None, typer.Option("--size", metavar="WxH", help="Characters of the picture; else as the runs need.")
    ] = None,
) -> None:
    """Follow runs while they train: losses, gradients, gates, memories and events, side by side. `q` ends it.

    It only reads, so training is not disturbed; it works on finished runs too, and over ssh. With --source aim it shows
    what Aim was told, also of runs whose folders are gone.

    Example: cortexzoo monitor runs
    """
    from cortexzoo.harness.monitor.choosing import aim_sources, folder_sources
    from cortexzoo.harness.monitor.dashboard import Dashboard
    from cortexzoo.harness.monitor.run_view import RunView

    without_foreign_warnings()
    found, left_out = aim_sources(targets) if source == "aim" else folder_sources(targets)
    if left_out:
        say(f"the last {len(found)} runs are shown, {left_out} are not: name run folders to choose")
    board = Dashboard([RunView(each) for each in found], snapshot=snapshot is not None)
    if snapshot is None:
        if not sys.stdout.isatty():
            raise BadInput("monitor needs a terminal: --snapshot FILE.svg draws a picture without one")
        board.run()
        return
    picture = board.run(headless=True, size=_size(size or f"{max(NARROW, WIDE * len(found))}x50"))
    try:
        snapshot.write_text(picture or "", encoding="utf-8")
    except OSError as problem:
        raise BadInput(f"--snapshot {snapshot}: cannot be written: {problem.strerror or problem}") from problem
    say(f"picture: {snapshot}")


NARROW, WIDE = 110, 50
"""Characters of a picture, at least, and of each run in it."""


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) >= 44 and int(height) >= 20):
        raise BadInput(f"--size: must be WIDTHxHEIGHT, at least 44x20, got {text!r}")
    return int(width), int(height)
