"""Runs by name: a folder, or `latest`, and the list of all runs in a folder."""

from collections.abc import Iterator
from pathlib import Path

from cortexzoo.harness.runs.run_folder import SPEC, Run, RunFolderError
from cortexzoo.harness.runs.run_names import is_empty

LATEST = "latest"


def run_path(reference: str | Path, runs: Path) -> Path:
    """The folder that a user names: a path, `latest` (the newest run in `runs`) or `runs/EXPERIMENT/latest`.

    Raises `RunFolderError` when there is no run to be the newest.
    """
    path = Path(reference)
    if path.name != LATEST or path.is_dir():
        return path
    folder = runs if path == Path(LATEST) else path.parent
    newest = max(all_runs(folder), key=lambda run: run.path.name, default=None)
    if newest is None:
        raise RunFolderError(f"{reference}: there is no run in {folder}")
    return newest.path


def is_latest(reference: str | Path) -> bool:
    """Whether it names the newest run."""
    return Path(reference).name == LATEST


def empty_runs(folder: Path) -> Iterator[Path]:
    """Folders of runs that were ended before they wrote their spec."""
    return (path for path in sorted({*folder.glob("*"), *folder.glob("*/*")}) if is_empty(path))


def all_runs(folder: Path) -> Iterator[Run]:
    """The runs of a folder of all runs, or of one experiment's, oldest first within each experiment."""
    for spec in sorted({*folder.glob(f"*/{SPEC}"), *folder.glob(f"*/*/{SPEC}")}):
        if not spec.parent.name.startswith("."):
            yield Run(spec.parent)
