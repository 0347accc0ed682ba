"""One progress bar for many runs, on standard error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cortexzoo.harness.cli.output import standard_error


@contextmanager
def runs_progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Yields a function to be called with (finished runs, all runs) after each run."""
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=standard_error()) as progress:
        task = progress.add_task(title, total=None)
        yield lambda finished, total: progress.update(task, completed=finished, total=total)
