"""How a run is trained and reported, apart from what its spec states."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cortexzoo.harness.runs.interventions import NONE, Interventions
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.tracking.base import Warn
from cortexzoo.specs.tracker import TrackerName


def _to_standard_error(line: str) -> None:
    print(line, file=sys.stderr)


def _ignore(_: Run) -> None:
    pass


@dataclass(frozen=True)
class RunOptions:
    """Options of `train_run` and `resume_run`. Apart from `interventions`, none changes a recorded number."""

    trackers: Sequence[TrackerName] | None = None
    """None: those of the experiment; empty: the run folder only."""
    progress: bool = False
    """Draw a progress bar."""
    force: bool = False
    """Train even if the predicted memory is more than this machine has."""
    interventions: Interventions = NONE
    on_alert: Sequence[str] = ()
    """The words of a command that is started at each alert."""
    warn: Warn = _to_standard_error
    """Receives each line about something that does not stop the run."""
    began: Callable[[Run], None] = _ignore
    """Called with the run once everything is ready to train."""


DEFAULTS = RunOptions()
UNTRACKED = RunOptions(trackers=())
"""For the runs of a study: their trackers are filled from the run folders, if at all."""
