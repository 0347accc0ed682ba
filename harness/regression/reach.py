"""Which property, on which healthy host, comes to which lines of `zoo`, and how long it takes."""

import json
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from types import FrameType
from typing import Any

from cortexzoo import zoo
from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.modules.inputs import Inputs
from cortexzoo.harness.checking.modules.registry import BARE
from cortexzoo.harness.checking.modules.subject import BareSubject, seeded
from cortexzoo.harness.checking.mutants.base import Host
from cortexzoo.harness.checking.mutants.gated_delta_layer import VOCAB, make_layer
from cortexzoo.harness.checking.mutants.generated import Site, file_of
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.harness.parallel.workers import in_processes
from cortexzoo.harness.regression.kept_results import write_whole
from cortexzoo.harness.regression.mutation_score import EFFORT, EXPERIMENTS, HOSTS, trained_hosts
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.runs.train import subject_of
from cortexzoo.specs import load
from cortexzoo.specs.properties import PropertyName
from cortexzoo.specs.suite import Check, SuiteSpec

ON_A_CLOCK = {"linear_time", "linear_memory"}
"""Properties that are not asked: they are slow, and a busy machine makes them fail."""


@dataclass(frozen=True)
class Reach:
    """One property on one healthy host: how long it takes, and the lines of `zoo` that it comes to."""

    host: Host
    property: PropertyName
    seconds: float
    lines: Mapping[str, Sequence[int]]
    """By file, relative to `zoo`."""

    def reaches(self, site: Site) -> bool:
        """Whether it comes to a change."""
        return site.line in self.lines.get(file_of(site), ())


def in_turn(reaches: Sequence[Reach], site: Site) -> list[Reach]:
    """The properties that come to a change: each on the host where it is quickest, then each on its next one."""
    asked = sorted((reach for reach in reaches if reach.reaches(site)), key=lambda reach: reach.seconds)
    turns: dict[PropertyName, int] = {}
    rows = []
    for reach in asked:
        turns[reach.property] = turns.get(reach.property, -1) + 1
        rows.append((turns[reach.property], reach.seconds, reach))
    return [reach for _, _, reach in sorted(rows, key=lambda row: row[:2])]


@dataclass(frozen=True)
class Hosts:
    """The trained hosts by the folders of their runs, beside the layer and the op, which need no training."""

    folders: Mapping[Host, Path]

    @classmethod
    def trained(cls, runs: Path, jobs: int) -> "Hosts":
        """Found in `runs`, or trained into it."""
        return cls(trained_hosts(EXPERIMENTS, runs, jobs))

    def judge(self, host: Host, name: PropertyName) -> Judgement:
        """One property on one host, as it is now."""
        if host in self.folders:
            return judge(REGISTRY[name], Check(), _subject_in(self.folders[host]))
        suite = load("bare-module", "suite")
        assert isinstance(suite, SuiteSpec)
        subject = BareSubject(make_layer, seeded(make_layer, 0), Inputs("tokens", VOCAB), longest=80)
        return judge(BARE[name], suite.properties[name], subject, EFFORT)

    def prepare(self) -> None:
        """Load all of them, before a change is put in place."""
        for folder in self.folders.values():
            _subject_in(folder)

    def pairs(self) -> list[tuple[Host, PropertyName]]:
        """Every host with every property that may be asked of it."""
        suite = load("bare-module", "suite")
        assert isinstance(suite, SuiteSpec)
        return [
            (host, name)
            for host in HOSTS
            for name in (REGISTRY if host in self.folders else suite.properties)
            if name not in ON_A_CLOCK
        ]


@cache
def _subject_in(folder: Path) -> Any:
    return subject_of(Run.open(folder))


def measured_reaches(path: Path, hosts: Hosts, jobs: int) -> list[Reach]:
    """Every property that passes on a healthy host, with its lines: from `path`, or measured now and kept there."""
    if not path.exists():
        tasks = [(pair, partial(_reach_of, hosts, *pair)) for pair in hosts.pairs()]
        found = [reach for _, reach in in_processes(tasks, jobs) if reach is not None]
        write_whole(path, [asdict(reach) for reach in found])
    return [Reach(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]


def _reach_of(hosts: Hosts, host: Host, name: PropertyName) -> Reach | None:
    """Judged twice: once for its time, once for its lines, since watching each line makes it much slower."""
    warnings.simplefilter("ignore")
    hosts.judge(host, name)  # what is imported and cached on first use
    began = time.perf_counter()
    judgement = hosts.judge(host, name)
    seconds = round(time.perf_counter() - began, 2)
    if judgement.verdict != "pass":
        return None
    with traced() as lines:
        hosts.judge(host, name)
    return Reach(host, name, seconds, {file: sorted(numbers) for file, numbers in lines.items()})


@contextmanager
def traced() -> Iterator[dict[str, set[int]]]:
    """Collects the lines of `zoo` that run meanwhile."""
    root = str(Path(zoo.__file__).parent.resolve())
    lines: dict[str, set[int]] = {}
    files: dict[str, set[int] | None] = {}

    def enter(frame: FrameType, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if name not in files:
            path = str(Path(name).resolve())
            inside = path.startswith(root)
            files[name] = lines.setdefault(path.removeprefix(root)[1:], set()) if inside else None
        own = files[name]
        if own is None:
            return None
        own.add(frame.f_lineno)

        def step(frame: FrameType, event: str, _: Any) -> Any:
            own.add(frame.f_lineno)
            return step

        return step

    before = sys.gettrace()
    sys.settrace(enter)
    threading.settrace(enter)
    try:
        yield lines
    finally:
        sys.settrace(before)
        threading.settrace(before)
