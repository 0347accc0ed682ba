"""The score of mutants made by machine: which properties reach a change, and whether one of them catches it."""

import hashlib
import json
import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from cortexzoo.harness import checking
from cortexzoo.harness.checking.mutants.generated import Site
from cortexzoo.harness.parallel.workers import in_processes
from cortexzoo.harness.regression.generated_tests import TestedResult
from cortexzoo.harness.regression.reach import Hosts, Reach, in_turn, measured_reaches
from cortexzoo.harness.runs.cache import code_sum

LIMIT = 60.0
"""Seconds for one change, over all properties that reach it."""
Fate = Literal["caught", "hangs", "survives", "not reached"]


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
    """How many properties were tried,"""
    reached: int = 0
    """of how many that come to it."""
    seconds: float = 0.0

    @property
    def is_caught(self) -> bool:
        """By a verdict, or because nothing ends any more."""
        return self.fate in ("caught", "hangs")


def campaign(
    sites: Sequence[Site], folder: Path, runs: Path, jobs: int, done: Callable[[int], None] = lambda _: None
) -> list[GeneratedResult]:
    """The fate of every site, in its order. What is known already is read from `folder`; an interrupt leaves it whole.

    Results belong to one state of the code: another state begins anew in a folder of its own.
    """
    place = place_of(folder)
    place.mkdir(parents=True, exist_ok=True)
    known = _known(place / "results.jsonl")
    hosts = Hosts.trained(runs, jobs)
    reaches = place / "reach.json"
    measured_reaches(reaches, hosts, jobs)
    tasks = [(site.name, partial(_judged, site, hosts, reaches)) for site in sites if site.name not in known]
    done(len(sites) - len(tasks))
    for number, (name, result) in enumerate(in_processes(tasks, jobs), start=1):
        known[name] = result
        with (place / "results.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(result)) + "\n")
        done(len(sites) - len(tasks) + number)
    return [known[site.name] for site in sites]


def place_of(folder: Path) -> Path:
    """Where results of this state of the code lie: of what is changed, and of what judges it."""
    total = hashlib.sha256(code_sum().encode())
    for file in sorted(Path(checking.__file__).parent.rglob("*.py")):
        total.update(file.read_bytes())
    return folder / total.hexdigest()[:12]


def _judged(site: Site, hosts: Hosts, reaches: Path) -> GeneratedResult:
    return judge_site(site, hosts, _kept_reaches(reaches))


@cache
def _kept_reaches(path: Path) -> tuple[Reach, ...]:
    return tuple(Reach(**entry) for entry in json.loads(path.read_text(encoding="utf-8")))


def judge_site(site: Site, hosts: Hosts, reaches: Sequence[Reach]) -> GeneratedResult:
    """Try the properties that come to a change, the quickest first, until one fails or the time is over."""
    asked = in_turn(reaches, site)
    if not asked:
        return GeneratedResult(site.name, site.operator, "not reached")
    hosts.prepare()
    began = time.perf_counter()

    def trials() -> Iterator[dict[str, Any]]:
        with site.seeded():
            for number, reach in enumerate(asked, start=1):
                judgement = hosts.judge(reach.host, reach.property)
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
        last["asked"], len(asked), round(time.perf_counter() - began, 1),
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


def as_json(
    count: int,
    seed: int,
    results: Sequence[GeneratedResult],
    tested: Mapping[str, TestedResult],
    equivalent: Mapping[str, str],
) -> dict[str, Any]:
    """The results for programs."""
    rows = [
        {**asdict(result), "tests": asdict(tested[result.site]) if result.site in tested else None}
        for result in results
    ]
    return {"sample": count, "seed": seed, "results": rows, "equivalent": dict(equivalent)}


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
