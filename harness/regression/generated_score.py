"""The score of mutants made by machine: which properties reach a change, and whether one of them catches it."""

import hashlib
import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from cortexzoo import specs
from cortexzoo.harness import checking, regression
from cortexzoo.harness.checking.modules.patience import Patience
from cortexzoo.harness.checking.mutants.generated import Site
from cortexzoo.harness.parallel.workers import end_with_parent, in_processes
from cortexzoo.harness.regression.generated_tests import TestedResult
from cortexzoo.harness.regression.kept_results import OfOneChange, append_result, read_results
from cortexzoo.harness.regression.reach import Hosts, Reach, in_turn, measured_reaches
from cortexzoo.harness.runs.cache import code_sum
from cortexzoo.specs.allowed_code import allowed_meanwhile

LIMIT = 60.0
"""CPU seconds for one change, over all properties that reach it, unless others are given."""
LOOK_EVERY = 0.2
"""Seconds between two looks at what a property has used."""
PATIENCE, LEAST_SHARE = 10.0, 1 / 3
"""A change hangs when a property takes so many times as long as without it, and at least that share of the limit."""
Fate = Literal["caught", "hangs", "survives", "not reached"]


class Hangs(Exception):
    """One property does not end any more."""


@dataclass(frozen=True)
class GeneratedResult(OfOneChange):
    """What properties say of one change."""

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


@allowed_meanwhile()  # the module of a host is a file of this package
def campaign(
    sites: Sequence[Site],
    folder: Path,
    runs: Path,
    jobs: int,
    limit: float = LIMIT,
    done: Callable[[str, int, int], None] = lambda *_: None,
) -> list[GeneratedResult]:
    """The fate of every site, in its order, with `limit` seconds for each.

    What is known already is read from `folder`; an interrupt leaves it whole. Results belong to one state of the code:
    another state begins anew in a folder of its own. `done` is called with what is counted, how many, and of how many.
    """
    place = place_of(folder)
    place.mkdir(parents=True, exist_ok=True)
    kept = place / f"results-{limit:g}-s.jsonl"
    known = read_results(kept, GeneratedResult)
    hosts = Hosts.trained(runs, jobs)
    reaches = measured_reaches(place, hosts, sites, jobs, partial(done, "reach"))
    tasks = [(site.name, partial(judge_site, site, hosts, reaches, limit)) for site in sites if site.name not in known]
    done("properties", len(sites) - len(tasks), len(sites))
    for number, (name, result) in enumerate(in_processes(tasks, jobs), start=1):
        known[name] = result
        append_result(kept, result)
        done("properties", len(sites) - len(tasks) + number, len(sites))
    return [known[site.name] for site in sites]


def place_of(folder: Path) -> Path:
    """Where results of this state of the code lie: of what is changed, and of what judges it."""
    total = hashlib.sha256(code_sum().encode())
    for package in (specs, checking, regression):
        root = Path(str(package.__file__)).parent
        for file in sorted(file for file in root.rglob("*") if file.suffix in (".py", ".yaml")):
            total.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return folder / total.hexdigest()[:12]


def judge_site(site: Site, hosts: Hosts, reaches: Sequence[Reach], limit: float = LIMIT) -> GeneratedResult:
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
        for last in _apart(trials, [max(LEAST_SHARE * limit, PATIENCE * reach.seconds) for reach in asked], limit):
            if last["is"]:
                fate = "caught"
                break
    except Hangs:
        fate = "hangs"
    except TimeoutError:
        pass
    except EOFError:
        fate, last = "caught", {**last, "by": "", "reason": "the process died"}
    return GeneratedResult(
        site.name, site.operator, fate, last.get("host", "") if fate == "caught" else "",
        last.get("by", "") if fate == "caught" else "", str(last.get("reason", ""))[:200] if fate == "caught" else "",
        last["asked"], len(asked), round(time.perf_counter() - began, 1),
    )  # fmt: skip


def _apart(
    trials: Callable[[], Iterator[dict[str, Any]]], patience: Sequence[float], limit: float
) -> Iterator[dict[str, Any]]:
    """What `trials` yields, in a process of its own that is ended with this generator.

    Raises `Hangs` when one of them takes longer than its patience, in CPU seconds or without computing, `TimeoutError`
    after `limit` of them in all, and `EOFError` when the process dies.
    """
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_try, args=(trials, writer))
    process.start()
    writer.close()
    assert process.pid is not None
    whole, one = Patience(process.pid, limit), Patience(process.pid, limit)
    try:
        for seconds in [*patience, LEAST_SHARE * limit]:
            one.renew(seconds)
            while not reader.poll(LOOK_EVERY):
                if whole.is_over:
                    raise TimeoutError
                if one.is_over:
                    raise Hangs
            message = reader.recv()
            if message is None:
                return
            yield message
            if whole.is_over:
                raise TimeoutError
    finally:
        process.kill()
        process.join()


def _try(trials: Callable[[], Iterator[dict[str, Any]]], writer: Connection) -> None:
    end_with_parent()
    warnings.simplefilter("ignore")
    asked = 0
    try:
        for message in trials():
            asked = message["asked"]
            writer.send(message)
    except Exception as problem:  # such as a class that can no longer be made
        writer.send({"by": "", "host": "", "reason": repr(problem)[:200], "asked": asked + 1, "is": True})
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
