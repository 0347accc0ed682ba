"""The command that follows runs while they train. Everything heavy is imported inside it."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cortexzoo.harness.cli.errors import BadInput, print_errors
from cortexzoo.harness.cli.options import RUNS
from cortexzoo.harness.cli.output import print_text, without_foreign_warnings
from cortexzoo.specs.errors import UserError

if TYPE_CHECKING:
    from cortexzoo.harness.monitor.run_view import RunView


def monitor(
    targets: Annotated[list[Path], typer.Argument(metavar="RUN|DIR…", help="Runs, `latest`, or folders of runs.")],
    snapshot: Annotated[
        Path | None, typer.Option("--snapshot", metavar="FILE.svg", help="Draw one picture into this file and exit.")
    ] = None,
    source: Annotated[
        Literal["jsonl", "aim", "wandb"],
        typer.Option("--source", help="Read the run folders, Aim's repository, or a W&B server."),
    ] = "jsonl",
    size: Annotated[
        str | None, typer.Option("--size", metavar="WxH", help="Size of the picture in characters; default: as needed.")
    ] = None,
) -> None:
    """Follow runs while they train.

    Shows losses, gradients, gates, memories and events side by side; `q` quits. It only reads files, so training is not
    disturbed; it also works on finished runs and over ssh. With --source aim it reads Aim's repository, which may have
    runs whose folders are deleted. With --source wandb runs are named [ENTITY/]PROJECT/RUN_ID, as in their address.

    Example: cortexzoo monitor runs
    """
    from cortexzoo.harness.monitor.choosing import aim_sources, folder_sources, wandb_sources
    from cortexzoo.harness.monitor.dashboard import Dashboard
    from cortexzoo.harness.monitor.run_view import RunView
    from cortexzoo.harness.runs.find import run_path

    without_foreign_warnings()
    if source == "wandb":
        found, left_out = wandb_sources(targets), 0
    else:
        named = [run_path(target, RUNS) for target in targets]
        found, left_out = aim_sources(named) if source == "aim" else folder_sources(named)
    if left_out:
        print_text(f"showing the last {len(found)} runs, not {left_out} earlier ones: give run folders to choose")
    if snapshot is None and not sys.stdout.isatty():
        raise BadInput("monitor needs a terminal: --snapshot FILE.svg draws a picture without one")
    views = list(_readable([RunView(each) for each in found]))
    board = Dashboard(views, snapshot=snapshot is not None)
    if snapshot is None:
        board.run()
        return
    picture = board.run(headless=True, size=_size(size or f"{max(NARROW, WIDE * len(found))}x50"))
    try:
        snapshot.write_text(picture or "", encoding="utf-8")
    except OSError as problem:
        raise BadInput(f"--snapshot {snapshot}: cannot be written: {problem.strerror or problem}") from problem
    print_text(f"picture: {snapshot}")


def _readable(views: Sequence["RunView"]) -> Iterator["RunView"]:
    """Those that can be read; a damaged one is left out with a line. Raises its error where none is left."""
    left = len(views)
    for view in views:
        try:
            view.look()
        except UserError as problem:
            left -= 1
            if not left:
                raise
            print_errors([f"not shown: {problem}"])
            continue
        yield view


NARROW, WIDE = 110, 50
"""Characters of a picture, at least, and of each run in it."""


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) >= 44 and int(height) >= 20):
        raise BadInput(f"--size: must be WIDTHxHEIGHT, at least 44x20, got {text!r}")
    return int(width), int(height)
