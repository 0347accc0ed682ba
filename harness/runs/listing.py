"""What a list of runs shows of each, read from its folder."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cortexzoo.harness.checking.verdict import VERDICT
from cortexzoo.harness.runs.run_folder import LOCK, SUMMARY, Run, RunFolderError

Status = Literal["finished", "stopped", "interrupted", "running", "unfinished", "damaged", "empty"]
"""stopped: training raised an error; interrupted: by Ctrl-C or SIGTERM; unfinished: killed before it could report;
empty: killed before its spec was written."""
STARTING = 60.0
CheckState = Literal["as expected", "unexpected", "unchecked"]


@dataclass(frozen=True)
class RunRow:
    """One run in a list."""

    path: Path
    experiment: str
    status: Status
    seed: int | None
    steps: int | None
    validation_loss: float | None
    """Nats a token, the best of the run."""
    outcome: CheckState
    properties: str
    """`33 of 35`, or an empty text for a run without a certificate."""

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {**vars(self), "path": str(self.path)}


def row_of(run: Run) -> RunRow:
    """Reads summary and verdict. A file that cannot be read makes the run `damaged`."""
    status: Status
    summary: Mapping[str, Any] = {}
    try:
        if (run.path / SUMMARY).is_file():
            summary = run.summary
            status = _ended(summary)
        else:
            status = "running" if (run.path / LOCK).exists() and run.is_held() else "unfinished"
        outcome, properties = _verdict(run)
    except RunFolderError:
        status, outcome, properties = "damaged", "unchecked", ""
    return RunRow(
        run.path,
        run.path.parent.name,
        status,
        summary.get("seed"),
        summary.get("steps_taken", summary.get("gave_up_at")),
        summary.get("best_validation_loss"),
        outcome,
        properties,
    )


def empty_row(path: Path) -> RunRow:
    """A run that was ended before it wrote its spec."""
    return RunRow(path, path.parent.name, "empty", None, None, None, "unchecked", "")


def remove_empty(path: Path, now: float) -> bool:
    """Remove such a run, unless it was begun in the last minute and may still be started. Raises `RunFolderError`."""
    try:
        if now - path.stat().st_mtime < STARTING:
            return False
        shutil.rmtree(path)
    except OSError as problem:
        raise RunFolderError(f"{path}: cannot be removed: {problem.strerror or problem}") from problem
    return True


def _ended(summary: Mapping[str, Any]) -> Status:
    match summary.get("status"):
        case "finished":
            return "finished"
        case "failed":
            return "stopped"
        case _:
            return "interrupted"


def _verdict(run: Run) -> tuple[CheckState, str]:
    if not (run.path / VERDICT).is_file():
        return "unchecked", ""
    content = run.read_json(VERDICT)
    properties = content.get("properties", {})
    verdicts = [entry.get("verdict") for entry in properties.values()]
    applied = [verdict for verdict in verdicts if verdict != "skipped"]
    outcome: CheckState = "as expected" if content.get("outcome") == "as expected" else "unexpected"
    return outcome, f"{applied.count('pass')} of {len(applied)}"
