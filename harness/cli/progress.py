"""One progress display for many runs that other processes train: steps of all together."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.cli.run_commands import standard_error

if TYPE_CHECKING:
    from harness.comparison.progress import StepsTaken

EVERY = 1.0
"""Seconds between two looks."""


@contextmanager
def steps_progress(title: str, watch: "StepsTaken") -> Iterator[Callable[[str], None]]:
    """A bar on standard error; what it yields prints a line above the bar."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn(title),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} steps"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    ended = threading.Event()
    with Progress(*columns, console=standard_error()) as progress:
        task = progress.add_task(title, total=watch.total)

        def follow() -> None:
            while not ended.wait(EVERY):
                progress.update(task, completed=watch.look())

        follower = threading.Thread(target=follow, daemon=True)
        follower.start()
        try:
            yield lambda line: progress.console.print(line, markup=False, highlight=False)
        finally:
            ended.set()
            follower.join()
            progress.update(task, completed=watch.look())
