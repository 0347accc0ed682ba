"""Runs by name: a folder, or `latest`; the list of all runs in a folder; those of an experiment."""

from collections.abc import Iterator
from pathlib import Path

from cortexzoo.harness.runs.run_folder import MANIFEST, SPEC, SUMMARY, Run, RunFolderError
from cortexzoo.harness.runs.run_names import is_empty
from cortexzoo.specs import ExperimentSpec

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


def finished_runs(runs: Path, experiment: ExperimentSpec) -> Iterator[Run]:
    """Finished runs of exactly this experiment (equal spec hash), newest first; none with injected faults."""
    return (run for run in _runs_of(runs, experiment) if run.finished)


def stopped_runs(runs: Path, experiment: ExperimentSpec) -> Iterator[Run]:
    """As `finished_runs`, those that training gave up for numeric reasons."""
    return (run for run in _runs_of(runs, experiment) if "gave_up_at" in run.summary)


def unfinished_runs(runs: Path, experiment: ExperimentSpec) -> Iterator[Run]:
    """As `finished_runs`, those that were killed, interrupted or stopped by the machine: they can be resumed."""
    found = (run for run in _runs_of(runs, experiment, MANIFEST) if not run.finished)
    return (run for run in found if not ((run.path / SUMMARY).is_file() and "gave_up_at" in run.summary))


def _runs_of(runs: Path, experiment: ExperimentSpec, with_file: str = SUMMARY) -> Iterator[Run]:
    for file in sorted((runs / experiment.name).glob(f"*/{with_file}"), reverse=True):
        run = Run(file.parent)
        if not (run.path / MANIFEST).is_file() or run.manifest.get("tampered_with"):
            continue
        if run.manifest.get("spec_hash") == experiment.hash():
            yield run
