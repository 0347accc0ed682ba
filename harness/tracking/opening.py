"""Trackers by name: `NAME` is the module `harness/tracking/NAME`, whose function `open_sink` opens a run."""

from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast, get_args

from cortexzoo.harness.errors import Failure
from cortexzoo.harness.tracking.base import CompositeRecorder, Sink, TrackedRun, Warn, guarded
from cortexzoo.harness.tracking.deadlines import OPENING
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.plugins import loaded
from cortexzoo.specs.tracker import SHIPPED, TrackerName

Identities = Mapping[str, str]
"""The identity of a run in each tracker."""


class TrackerModule(Protocol):
    """What the module of a tracker must offer."""

    def open_sink(self, run: TrackedRun) -> Sink | None:
        """Open the run: as a new one unless it has an identity; None where the tracker has lost the one with it.

        May raise anything, which disables the tracker.
        """


def attach_trackers(
    recorder: CompositeRecorder,
    folder: Path,
    experiment: ExperimentSpec,
    names: Sequence[TrackerName],
    known: Identities,
) -> dict[str, Sink]:
    """Open these trackers for the run in `folder`; those that could be opened, by name."""
    sinks: dict[str, Sink] = {}
    for name in names:
        if name != "jsonl":
            sink = recorder.attach(name, partial(_begun, name, TrackedRun(folder, experiment, known.get(name))))
            if sink is not None:
                sinks[name] = sink
    return sinks


def report_outcome(
    folder: Path,
    experiment: ExperimentSpec,
    known: Identities,
    summary: Mapping[str, object],
    *,
    report: str,
    picture: Path,
    warn: Warn,
) -> None:
    """Add an outcome to the run in each tracker that has it, after its sinks were closed."""

    def write(name: TrackerName) -> None:
        sink = _module(name).open_sink(TrackedRun(folder, experiment, known[name]))
        if sink is not None:
            sink.outcome(summary, report=report, picture=picture)
            sink.close()

    for name in get_args(TrackerName):
        if name in known:
            guarded(name, OPENING, partial(write, name), warn)


def _begun(name: TrackerName, run: TrackedRun) -> Sink:
    module = _module(name)
    sink = module.open_sink(run) or module.open_sink(TrackedRun(run.folder, run.experiment))
    assert sink is not None, f"{name} must be able to open a new run"
    return sink


def _module(name: TrackerName) -> TrackerModule:
    """Raises `Failure` for a plugin that cannot be imported."""
    if name not in SHIPPED:
        module = loaded("trackers", name)
        if module is None:
            raise Failure("its plugin cannot be imported")
        return cast(TrackerModule, module)
    return cast(TrackerModule, import_module(f"cortexzoo.harness.tracking.{name}"))
