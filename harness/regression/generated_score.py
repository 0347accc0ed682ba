"""The score of mutants made by machine: which properties reach a change, and whether one of them catches it."""

import json
import multiprocessing
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from cortexzoo import zoo
from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.mutants.base import Host
from cortexzoo.harness.checking.mutants.generated import Site, file_of
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.parallel.train_missing import train_missing
from cortexzoo.harness.regression.mutation_score import EXPERIMENTS, experiment_of
from cortexzoo.harness.runs.cache import code_sum
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.runs.train import subject_of
from cortexzoo.specs.suite import Check, PropertyName

LIMIT = 60.0
"""Seconds for one change, over all properties that reach it."""
ON_A_CLOCK = {"linear_time", "linear_memory"}
"""Properties that are not asked: they are slow, and a busy machine makes them fail."""
Fate = Literal["caught", "hangs", "survives", "not reached"]


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


@dataclass(frozen=True)
class GeneratedResult:
    """What became of one change."""

    site: str
    operator: str
    fate: Fate
    host: str = ""
    by: str = ""
    """The property that caught it."""
    reason: str = ""
    asked: int = 0
    """How many properties were tried."""
    seconds: float = 0.0


def campaign(
    sites: Sequence[Site], folder: Path, runs: Path, jobs: int, done: Callable[[int], None] = lambda _: None
) -> list[GeneratedResult]:
    """The fate of every site, in its order. What is known already is read from `folder`; an interrupt leaves it whole.

    Results belong to one state of the code: another state begins anew in a folder of its own.
    """
    place = folder / code_sum()
    place.mkdir(parents=True, exist_ok=True)
    known = _known(place / "results.jsonl")
    hosts = _hosts(runs, jobs)
    reaches = _reaches(place / "reach.json", hosts)
    for number, site in enumerate(sites, start=1):
        if site.name not in known:
            result = judge_site(site, hosts, reaches)
            known[site.name] = result
            with (place / "results.jsonl").open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(asdict(result)) + "\n")
        done(number)
    return [known[site.name] for site in sites]


def judge_site(site: Site, hosts: Mapping[Host, Subject], reaches: Sequence[Reach]) -> GeneratedResult:
    """Try the properties that come to a change, the quickest first, until one fails or the time is over."""
    asked = sorted((reach for reach in reaches if reach.reaches(site)), key=lambda reach: reach.seconds)
    if not asked:
        return GeneratedResult(site.name, site.operator, "not reached")
    began = time.perf_counter()

    def trials() -> Iterator[dict[str, Any]]:
        with site.seeded():
            for number, reach in enumerate(asked, start=1):
                judgement = judge(REGISTRY[reach.property], Check(), hosts[reach.host])
                caught = judgement.verdict in ("fail", "error")
                yield {
                    "by": reach.property,
                    "host": reach.host,
                    "reason": judgement.reason,
                    "asked": number,
                    "is": caught,
                }

    last: dict[str, Any] = {"asked": 0, "is": False}
    fate: Fate = "survives"
    try:
        for last in _apart(trials, LIMIT):
            if last["is"]:
                fate = "caught"
                break
    except TimeoutError:
        # A single property that takes the whole limit hangs; many that are slow together have only not finished.
        fate = "hangs" if last["asked"] == 0 else "survives"
    except EOFError:
        fate, last = "caught", {**last, "by": "", "reason": "the process died"}
    return GeneratedResult(
        site.name, site.operator, fate, last.get("host", "") if fate == "caught" else "",
        last.get("by", "") if fate == "caught" else "", str(last.get("reason", ""))[:200] if fate == "caught" else "",
        last["asked"], round(time.perf_counter() - began, 1),
    )  # fmt: skip


def _apart(trials: Callable[[], Iterator[dict[str, Any]]], seconds: float) -> Iterator[dict[str, Any]]:
    """What `trials` yields, in a process of its own that is ended with this generator.

    Raises `TimeoutError` after so many seconds in all, `EOFError` when the process dies.
    """
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_try, args=(trials, writer))
    process.start()
    writer.close()
    end = time.monotonic() + seconds
    try:
        while True:
            if not reader.poll(max(0.0, end - time.monotonic())):
                raise TimeoutError
            message = reader.recv()
            if message is None:
                return
            yield message
    finally:
        process.kill()
        process.join()


def _try(trials: Callable[[], Iterator[dict[str, Any]]], writer: Connection) -> None:
    warnings.simplefilter("ignore")
    try:
        for message in trials():
            writer.send(message)
    except Exception as problem:  # such as a class that can no longer be made
        writer.send({"by": "", "host": "", "reason": repr(problem)[:200], "asked": 1, "is": True})
    writer.send(None)


def _hosts(runs: Path, jobs: int) -> dict[Host, Subject]:
    """The trained hosts of the written mutants."""
    experiments = {experiment_of(host).hash(): host for host in EXPERIMENTS}
    trained = train_missing([experiment_of(host) for host in EXPERIMENTS], runs, jobs=jobs)
    found = {experiments[experiment.hash()]: subject_of(Run.open(run.path)) for experiment, run in trained}
    return {host: found[host] for host in EXPERIMENTS}


def _reaches(path: Path, hosts: Mapping[Host, Subject]) -> list[Reach]:
    """Every property that passes on a healthy host, with its lines: from `path`, or measured now and kept there."""
    if path.exists():
        return [Reach(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    found = []
    for host, subject in hosts.items():
        for name, entry in REGISTRY.items():
            if name in ON_A_CLOCK:
                continue
            began = time.perf_counter()
            with _traced() as lines:
                judgement = judge(entry, Check(), subject)
            if judgement.verdict == "pass":
                own = {file: sorted(numbers) for file, numbers in lines.items()}
                found.append(Reach(host, name, round(time.perf_counter() - began, 2), own))
    path.write_text(json.dumps([asdict(reach) for reach in found]), encoding="utf-8")
    return found


@contextmanager
def _traced() -> Iterator[dict[str, set[int]]]:
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


def _known(path: Path) -> dict[str, GeneratedResult]:
    """Results of an earlier, perhaps interrupted, campaign."""
    if not path.exists():
        return {}
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(GeneratedResult(**json.loads(line)))
        except (ValueError, TypeError):
            continue  # the last line of a campaign that was killed
    return {entry.site: entry for entry in entries}
