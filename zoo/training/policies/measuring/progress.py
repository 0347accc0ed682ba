"""Progress on stderr: a bar on a terminal, a plain line every tenth of the steps elsewhere."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer
from cortexzoo.zoo.training.recorder import TOKENS_PER_SECOND

LINES = 10
SECONDS_BETWEEN_LINES = 10.0
"""Of a sleep, where there is no terminal."""


class ProgressReport(Policy):
    """Step, rate, time left, training loss and the last held-out loss."""

    name = "progress"

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.bar: Progress | None = None
        self._task = TaskID(0)
        self._every = max(1, steps // LINES)
        self._validation = ""
        self._reported = 0.0

    def batch_ready(self, trainer: Trainer, step: Step) -> None:
        if self.bar is None and sys.stderr.isatty():
            self.bar = Progress(
                TextColumn("training"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=False,
            )
            self._task = self.bar.add_task("training", total=self.steps, completed=step.number - 1, figures="")
            self.bar.start()

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        figures = self._figures(trainer, step)
        if self.bar is not None:
            self.bar.update(self._task, completed=step.number, figures=figures)
        elif step.number % self._every == 0 or step.number == self.steps:
            sys.stderr.write(f"step {step.number}/{self.steps}  {figures}\n")

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        self.step_taken(trainer, step)

    def asleep(self, done: int, total: int) -> None:
        """Show how far a sleep has come: in the bar at once, as a line at most every ten seconds."""
        figures = f"asleep, update {done}/{total}"
        if self.bar is not None:
            self.bar.update(self._task, figures=figures)
        elif done == 0:
            self._reported = time.monotonic()
        elif time.monotonic() - self._reported >= SECONDS_BETWEEN_LINES:
            self._reported = time.monotonic()
            sys.stderr.write(f"{figures}\n")

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _figures(self, trainer: Trainer, step: Step) -> str:
        if (validation := step.metrics.get("validation/loss")) is not None:
            self._validation = f"  held-out {validation:.3f}"
        rate = step.metrics.get(TOKENS_PER_SECOND)
        speed = "refused" if rate is None else f"{rate:,.0f} tokens/s"
        return f"loss {step.loss:.3f}{self._validation}  {speed}"
