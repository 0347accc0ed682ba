"""Writing Aim's repository from the run folders, which are the truth: the repository can be deleted at any time."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from cortexzoo.harness.checking.verdict import VERDICT
from cortexzoo.harness.errors import RunStopped, in_one_line
from cortexzoo.harness.runs.run_folder import CURVES, MANIFEST, SUMMARY, Run, RunFolderError
from cortexzoo.harness.tracking.aim.sink import REPOSITORY, AimError, AimSink, open_sink, remove_run, stamp_of
from cortexzoo.harness.tracking.base import TrackedRun
from cortexzoo.harness.tracking.jsonl import EVENTS, METRICS

Synced = Literal["written", "up to date"]
RECORDS = (METRICS, EVENTS, SUMMARY, VERDICT)
NO_METRICS = ("step", "time")
WRITTEN_AS = b"with its spec"
"""Which contents a run has in Aim; after a change `sync` writes every run again."""


def sync(run: Run) -> Synced:
    """Write a run into Aim from its records, replacing what Aim has of it; nothing when Aim has exactly that.

    Raises `RunFolderError` when the folder is incomplete or being trained, `AimError` when Aim cannot take it.
    """
    with run.held():
        manifest, fingerprint = run.manifest, _fingerprint(run)
        trackers = manifest.get("trackers", {})
        known = trackers.get(AimSink.name)
        with _errors_named(run):
            if known is not None and stamp_of(run.path.parent.parent, known) == fingerprint:
                return "up to date"
            if known is not None:
                remove_run(run.path.parent.parent, known)
        experiment, metrics, events = run.spec, run.metrics(), run.events()
        report = run.certificate.in_words() if (run.path / VERDICT).is_file() else ""
        summary = run.summary if (run.path / SUMMARY).is_file() else {"status": "unfinished"}
        with _errors_named(run):
            sink = open_sink(TrackedRun(run.path, experiment))
            assert sink is not None
            run.write_json(MANIFEST, {**manifest, "trackers": {**trackers, AimSink.name: sink.identity}})
            _write(sink, metrics, events)
            sink.outcome(summary, report=report, picture=run.path / CURVES)
            sink.stamp(fingerprint)
            sink.close()
    return "written"


@contextmanager
def _errors_named(run: Run) -> Iterator[None]:
    """Whatever Aim raises becomes an `AimError` of one line that names the repository."""
    try:
        yield
    except (AimError, RunStopped):
        raise
    except Exception as problem:
        repository = run.path.parent.parent / REPOSITORY
        raise AimError(f"{repository}: Aim cannot take the run: {in_one_line(problem)}") from problem


def _write(sink: AimSink, metrics: list[dict[str, Any]], events: list[dict[str, Any]]) -> None:
    for line in metrics:
        sink.metrics(int(line["step"]), _numbers(line))
    for line in events:
        sink.event(int(line["step"]), str(line["kind"]), line["detail"])


def _numbers(line: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in line.items() if name not in NO_METRICS}


def _fingerprint(run: Run) -> str:
    """A sum over everything that is written to Aim about a run."""
    total = hashlib.sha256(WRITTEN_AS)
    for name in RECORDS:
        file = run.path / name
        total.update(f"{name} {file.stat().st_size if file.is_file() else 'absent'} ".encode())
        if file.is_file():
            total.update(file.read_bytes())
    return total.hexdigest()


def sync_all(runs: list[Run]) -> Iterator[tuple[Run, Synced | str]]:
    """Each run with what became of it; why, for one that cannot be synced as it stands. Raises `AimError`."""
    for run in runs:
        try:
            yield run, sync(run)
        except RunFolderError as problem:
            yield run, f"left out: {problem}"
