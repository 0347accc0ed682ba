"""Progress displays: steps of many runs that other processes train, and the properties of one check."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cortexzoo.harness.cli.output import standard_error

if TYPE_CHECKING:
    from rich.progress import Progress

    from cortexzoo.harness.studies.comparison.progress import StepsTaken

EVERY = 1.0
"""Seconds between two updates."""


class Checking:
    """Progress of a check; receives each property and each case before it runs."""

    def __init__(self, progress: "Progress", properties: int) -> None:
        self._progress, self._cases = progress, 0
        self._task = progress.add_task("checking", total=properties, cases="")
        self._begun = -1

    def started(self, name: str) -> None:
        """The next property."""
        self._begun, self._cases = self._begun + 1, 0
        self._progress.update(self._task, completed=self._begun, description=f"checking {name}", cases="")

    def tried(self, _case: object) -> None:
        """The next case of it."""
        self._cases += 1
        self._progress.update(self._task, cases=f"case {self._cases}")


@contextmanager
def checking_progress(properties: int) -> Iterator[Checking]:
    """A bar on standard error over the properties of one check."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.fields[cases]}"),
    )
    console = standard_error()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Checking(progress, properties)


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
