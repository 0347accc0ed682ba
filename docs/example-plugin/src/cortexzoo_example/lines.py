"""The tracker `lines`: each step's loss as a line of `lines.txt` in the run folder."""

from collections.abc import Mapping
from pathlib import Path

from cortexzoo.harness.tracking.base import TrackedRun


class Lines:
    """One file."""

    name = "lines"
    identity = None

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._file.write(f"{step} {values['train/loss']:.4f}\n")

    def event(self, step: int, kind: str, detail: Mapping[str, object]) -> None:
        self._file.write(f"{step} {kind}\n")

    def outcome(self, summary: Mapping[str, object], *, report: str, picture: Path) -> None:
        self._file.write(f"{summary['status']}\n")

    def close(self) -> None:
        self._file.close()


def open_sink(run: TrackedRun) -> Lines:
    """The file of a run."""
    return Lines(run.folder / "lines.txt")
