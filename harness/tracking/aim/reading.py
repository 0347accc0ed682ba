"""Reading runs back from Aim's repository, those included that are being written."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cortexzoo.harness.tracking.aim.sink import REPOSITORY, AimError, import_aim, open_repository


@dataclass(frozen=True)
class AimRun:
    """The content of one run in Aim."""

    parameters: dict[str, Any]
    steps: list[dict[str, Any]]
    """As the lines of `metrics.jsonl`: metrics by name, with `step` and `time`, ascending."""
    events: list[tuple[int, str, str]]
    """Step, kind, and the rest in words."""


def hashes_by_age(runs: Path) -> list[str]:
    """The runs in `runs/.aim`, the newest first. Raises `AimError` when there is no repository."""
    repository = _existing(runs)
    found = {run_hash: repository.structured_db.find_run(run_hash) for run_hash in _hashes(repository)}
    known = {run_hash: run.created_at for run_hash, run in found.items() if run is not None}
    return sorted(known, key=lambda run_hash: known[run_hash], reverse=True)


def hash_of(runs: Path, folder: str) -> str:
    """The run that was tracked from the run folder of this name. Raises `AimError`."""
    for run_hash in hashes_by_age(runs):
        if _attributes(runs, run_hash).get("folder") == folder:
            return run_hash
    raise AimError(f"{runs / REPOSITORY}: contains no run {folder}: `cortexzoo aim-sync` copies it")


def read_run(runs: Path, run_hash: str) -> AimRun:
    """Everything about one run. Raises `AimError` when it is not there."""
    repository = _existing(runs)
    if run_hash not in _hashes(repository):
        raise AimError(f"{runs / REPOSITORY}: contains no run {run_hash}: `cortexzoo aim-sync` copies runs there")
    run = import_aim().Run(run_hash, repo=repository, read_only=True)
    run.meta_run_tree = _meta_tree(repository, run_hash)
    lines: defaultdict[int, dict[str, Any]] = defaultdict(dict)
    for metric in run.metrics():
        steps, (values, times) = metric.data.view(["val", "time"]).numpy()
        source = metric.context.to_dict().get("source")
        name = metric.name if source is None else f"{metric.name}/{source}"
        for step, value, at in zip(steps.tolist(), values.tolist(), times.tolist(), strict=True):
            line = lines[int(step)]
            line[name] = value
            line["time"] = max(at, line.get("time", at))
    ordered = [{"step": step, **lines[step]} for step in sorted(lines)]
    return AimRun(_attributes(runs, run_hash), ordered, _events(run))


def _hashes(repository: Any) -> list[str]:
    """All runs there are now: `list_all_runs` answers from what it saw half a second ago."""
    chunks = Path(repository.path) / "meta" / "chunks"
    return [chunk.name for chunk in chunks.iterdir()] if chunks.is_dir() else []


def _events(run: Any) -> list[tuple[int, str, str]]:
    sequence = run.get_text_sequence("events", import_aim().storage.context.Context({}))
    events = []
    for step, (text, *_) in () if sequence is None else sequence.data.items():
        kind, _, detail = text.data.partition(" · ")
        events.append((int(step), kind, detail.replace(": ", " ")))
    return events


def _attributes(runs: Path, run_hash: str) -> dict[str, Any]:
    tree = _meta_tree(_existing(runs), run_hash)
    try:
        return dict(tree.subtree("attrs").collect())
    except KeyError:  # nothing was recorded
        return {}


def _meta_tree(repository: Any, run_hash: str) -> Any:
    """A run's own part of the repository: the index, where Aim looks, has runs only once they were closed."""
    tree = repository.request_tree("meta", run_hash, read_only=True, skip_read_optimization=True)
    return tree.subtree("meta").subtree("chunks").subtree(run_hash)


def _existing(runs: Path) -> Any:
    if not (runs / REPOSITORY).is_dir():
        raise AimError(f"{runs}: contains no Aim repository: `cortexzoo aim-sync --runs {runs}` makes one")
    return open_repository(import_aim(), runs)
