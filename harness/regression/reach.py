"""Which property, on which healthy host, comes to the changed lines of `zoo`, and how long it takes."""

import hashlib
import sys
import threading
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import CodeType, FrameType
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
from cortexzoo.harness.regression.kept_results import append_result, read_results
from cortexzoo.harness.regression.mutation_score import EFFORT, EXPERIMENTS, HOSTS, trained_hosts
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.runs.train import subject_of
from cortexzoo.specs import load
from cortexzoo.specs.properties import PropertyName, Verdict
from cortexzoo.specs.suite import Check, SuiteSpec

ON_A_CLOCK = {"linear_time", "linear_memory"}
"""Properties that are not asked: they are slow, and a busy machine makes them fail."""


@dataclass(frozen=True)
class Reach:
    """One property on one healthy host: how long it takes, and the lines that it comes to, of those in question."""

    host: Host
    property: PropertyName
    verdict: Verdict
    seconds: float
    lines: Mapping[str, Sequence[int]]
    """By file, relative to `zoo`."""

    def key(self) -> str:
        """Its host and its property."""
        return f"{self.host} {self.property}"

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


def measured_reaches(
    place: Path, hosts: Hosts, sites: Sequence[Site], jobs: int, done: Callable[[int, int], None] = lambda *_: None
) -> list[Reach]:
    """Every property that passes on a healthy host, with the lines of these sites that it comes to.

    Each is measured once and kept in `place`, in a file for these lines alone: an interrupt loses what is running.
    """
    wanted = lines_of(sites)
    file = place / f"reach-{hashlib.sha256(repr(wanted).encode()).hexdigest()[:12]}.jsonl"
    known = read_results(file, Reach)
    pairs = hosts.pairs()
    tasks = [((host, name), partial(reach_of, hosts, host, name, wanted)) for host, name in pairs]
    tasks = [(pair, task) for pair, task in tasks if " ".join(pair) not in known]
    done(len(pairs) - len(tasks), len(pairs))
    for number, (_, reach) in enumerate(in_processes(tasks, jobs), start=1):
        known[reach.key()] = reach
        append_result(file, reach)
        done(len(pairs) - len(tasks) + number, len(pairs))
    return [reach for reach in known.values() if reach.verdict == "pass"]


def lines_of(sites: Sequence[Site]) -> dict[str, list[int]]:
    """The lines that are changed, by file, relative to `zoo`."""
    lines: dict[str, set[int]] = {}
    for site in sites:
        lines.setdefault(file_of(site), set()).add(site.line)
    return {file: sorted(numbers) for file, numbers in sorted(lines.items())}


def reach_of(hosts: Hosts, host: Host, name: PropertyName, wanted: Mapping[str, Collection[int]]) -> Reach:
    """Judge a property once, and watch the lines that are wanted."""
    warnings.simplefilter("ignore")
    hosts.prepare()
    began = time.perf_counter()
    with traced(wanted) as lines:
        judgement = hosts.judge(host, name)
    seconds = round(time.perf_counter() - began, 2)
    return Reach(host, name, judgement.verdict, seconds, {file: sorted(found) for file, found in lines.items()})


@contextmanager
def traced(wanted: Mapping[str, Collection[int]]) -> Iterator[dict[str, set[int]]]:
    """Collects those of the wanted lines, by file relative to `zoo`, that run meanwhile.

    Only functions that contain one are watched, each until all of its lines were seen: the others keep their speed.
    """
    root = Path(zoo.__file__).parent.resolve()
    files = {str(root / file): file for file in wanted}
    found: dict[str, set[int]] = {}
    left: dict[CodeType, set[int]] = {}

    def lines_in(code: CodeType) -> set[int]:
        file = files.get(str(Path(code.co_filename).resolve()))
        own = {line for _, _, line in code.co_lines() if line is not None}
        return own.intersection(wanted[file]) if file is not None else set()

    def enter(frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        if code not in left:
            left[code] = lines_in(code)
        return step if left[code] else None

    def step(frame: FrameType, event: str, _: Any) -> Any:
        own = left[frame.f_code]
        if frame.f_lineno in own:
            own.remove(frame.f_lineno)
            found.setdefault(files[str(Path(frame.f_code.co_filename).resolve())], set()).add(frame.f_lineno)
        return step

    before = sys.gettrace()
    sys.settrace(enter)
    threading.settrace(enter)
    try:
        yield found
    finally:
        sys.settrace(before)
        threading.settrace(before)
