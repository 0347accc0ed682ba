"""Trackers are a list: each name is a module, and an outcome reaches those that know the run."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest

from cortexzoo.harness.tracking import opening
from cortexzoo.harness.tracking.base import CompositeRecorder, TrackedRun
from cortexzoo.harness.tracking.jsonl import JsonlSink
from cortexzoo.harness.tracking.opening import attach_trackers, report_outcome
from cortexzoo.specs.tracker import TrackerName
from tests.harness.trained import small


class Store:
    """A tracker in memory that knows the runs in `kept`."""

    name = "aim"

    def __init__(self) -> None:
        self.kept: set[str] = set()
        self.identity: str | None = None
        self.outcomes: list[tuple[Mapping[str, object], str]] = []
        self.closed = 0

    def open_sink(self, run: TrackedRun) -> "Store | None":
        if run.identity is not None and run.identity not in self.kept:
            return None
        self.identity = run.identity or f"new-{run.folder.name}"
        self.kept.add(self.identity)
        return self

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        pass

    def event(self, step: int, kind: str, detail: Mapping[str, object]) -> None:
        pass

    def outcome(self, summary: Mapping[str, object], *, report: str, picture: Path) -> None:
        self.outcomes.append((summary, report))

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    kept = Store()
    monkeypatch.setattr(opening, "import_module", lambda _: SimpleNamespace(open_sink=kept.open_sink))
    return kept


@pytest.mark.parametrize("name", [name for name in get_args(TrackerName) if name != "jsonl"])
def test_every_name_is_a_module_that_opens_a_run(name: str) -> None:
    assert callable(import_module(f"cortexzoo.harness.tracking.{name}").open_sink)


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[CompositeRecorder]:
    made = CompositeRecorder(JsonlSink(tmp_path), warn=pytest.fail)
    yield made
    made.close()


def test_only_what_is_listed_is_opened(recorder: CompositeRecorder, store: Store, tmp_path: Path) -> None:
    assert attach_trackers(recorder, tmp_path, small(), ("jsonl",), {}) == {} and recorder.working == []
    assert attach_trackers(recorder, tmp_path, small(), ("jsonl", "aim"), {}) == {"aim": store}
    recorder.outcome({"status": "finished"}, report="", picture=tmp_path / "none")
    assert store.outcomes == [({"status": "finished"}, "")]


def test_a_run_is_continued_where_it_is_known_and_begun_where_it_was_lost(
    recorder: CompositeRecorder, store: Store, tmp_path: Path
) -> None:
    store.kept.add("old")
    attach_trackers(recorder, tmp_path, small(), ("aim",), {"aim": "old"})
    assert store.identity == "old"
    attach_trackers(recorder, tmp_path, small(), ("aim",), {"aim": "lost"})
    assert store.identity == f"new-{tmp_path.name}"


def test_a_later_outcome_goes_to_the_trackers_that_know_the_run(store: Store, tmp_path: Path) -> None:
    def report(known: Mapping[str, str]) -> None:
        report_outcome(
            tmp_path, small(), known, {"verdict": "as expected"}, report="fine", picture=tmp_path, warn=pytest.fail
        )

    for unknown in ({}, {"aim": "lost"}, {"another": "a"}):
        report(unknown)
    assert store.outcomes == [] and store.closed == 0
    store.kept.add("old")
    report({"aim": "old"})
    assert store.outcomes == [({"verdict": "as expected"}, "fine")] and store.closed == 1
