"""What unit tests say of the changes that no property catches: those tests that come to the changed line, in turn."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from cortexzoo import harness, zoo
from cortexzoo.harness.checking.mutants.generated import Site, file_of
from cortexzoo.harness.errors import Failure
from cortexzoo.harness.parallel.workers import in_processes
from cortexzoo.harness.regression.kept_results import OfOneChange, append_result, read_results, write_whole
from cortexzoo.harness.regression.planting import NOTES, PLANTED, PLUGIN

LIMIT = 60.0
"""Seconds of tests for one change, as long as they take when nothing is changed."""
HANGS_AFTER = 240.0
"""Seconds after which the tests of a change, start-up included, are ended: nothing ends any more."""
PASSED, FAILED, NONE_COLLECTED = 0, 1, 5
"""Exit codes of pytest."""
NEEDED = {"pytest": "pytest", "pytest_cov": "pytest-cov", "xdist": "pytest-xdist", "coverage": "coverage"}
"""Modules that the tests are run with, and the packages that have them."""
Fate = Literal["caught", "hangs", "survives", "not reached"]


class TestsFailed(Failure):
    """The tests cannot be run, or fail with nothing changed. The message is one line."""

    __test__ = False


@dataclass(frozen=True)
class TestedResult(OfOneChange):
    """What tests say of one change."""

    __test__ = False
    fate: Fate
    by: str = ""
    """The test that failed."""
    asked: int = 0
    """How many tests were run,"""
    reached: int = 0
    """of how many that come to it."""

    @property
    def is_caught(self) -> bool:
        """By a failing test, or because the tests do not end any more."""
        return self.fate in ("caught", "hangs")


@dataclass(frozen=True)
class Reached:
    """The tests that come to each line of `zoo`, by file, and how long each takes."""

    tests: Mapping[str, Mapping[str, Sequence[str]]]
    seconds: Mapping[str, float]

    def of(self, site: Site) -> list[str]:
        """Those that come to a change, the quickest first."""
        found = self.tests.get(file_of(site), {}).get(str(site.line), ())
        return sorted(found, key=lambda test: (self.seconds[test], test))


def campaign_of_tests(
    sites: Sequence[Site], place: Path, tests: Path, jobs: int, done: Callable[[int], None] = lambda _: None
) -> list[TestedResult]:
    """What the tests in a folder say of every site, in its order; `place` keeps what is known.

    Raises `TestsFailed` when the tests fail with nothing changed, or cannot be run.
    """
    own = place / f"tests-{_sum_of(tests)}"
    own.mkdir(parents=True, exist_ok=True)
    kept = own / "results.jsonl"
    known = read_results(kept, TestedResult)
    reached = measured_reach(own, tests, jobs)
    tasks = [
        (site.name, partial(judge_by_tests, site, reached.of(site), _chosen(reached, site), _root(tests)))
        for site in sites
        if site.name not in known
    ]
    done(len(sites) - len(tasks))
    for number, (name, result) in enumerate(in_processes(tasks, jobs), start=1):
        known[name] = result
        append_result(kept, result)
        done(len(sites) - len(tasks) + number)
    return [known[site.name] for site in sites]


def _chosen(reached: Reached, site: Site) -> list[str]:
    """As many as fit into the limit, at least one."""
    chosen: list[str] = []
    total = 0.0
    for test in reached.of(site):
        total += reached.seconds[test]
        if chosen and total > LIMIT:
            break
        chosen.append(test)
    return chosen


def judge_by_tests(site: Site, reaching: Sequence[str], chosen: Sequence[str], root: Path) -> TestedResult:
    """Run the chosen tests with the change in place, up to the first that fails. Raises `TestsFailed`."""
    if not chosen:
        return TestedResult(site.name, "not reached")
    with tempfile.TemporaryDirectory() as folder:
        notes, names = Path(folder) / "notes.json", Path(folder) / "tests.txt"
        names.write_text("\n".join(chosen), encoding="utf-8")
        environment = {PLANTED: site.name, NOTES: str(notes)}
        try:
            ended = _pytest(["-x", f"@{names}"], root, environment, timeout=HANGS_AFTER)
        except subprocess.TimeoutExpired:
            return TestedResult(site.name, "hangs", asked=len(chosen), reached=len(reaching))
        asked = json.loads(notes.read_text(encoding="utf-8")) if notes.exists() else {}
    if ended.returncode == PASSED:
        return TestedResult(site.name, "survives", asked=len(asked), reached=len(reaching))
    if ended.returncode == NONE_COLLECTED:
        raise TestsFailed(f"{root} has none of the tests that were there before: run the campaign again")
    # The same tests were collected and passed with nothing changed, so whatever else ends them is the change.
    failed = next((test for test, note in asked.items() if not note["passed"]), f"exit code {ended.returncode}")
    return TestedResult(site.name, "caught", failed, len(asked), len(reaching))


def measured_reach(own: Path, tests: Path, jobs: int) -> Reached:
    """Which quick tests come to which line: from `own`, or measured now by coverage.py and kept there."""
    kept = own / "reach.json"
    if not kept.exists():
        notes, data = own / "notes.json", own / "coverage"
        options = [str(tests.resolve()), "-m", "not slow", "-n", str(jobs), "--dist", "loadfile"]
        options += ["--cov=cortexzoo.zoo", "--cov-context=test", "--cov-report="]
        ended = _pytest(options, _root(tests), {NOTES: str(notes), "COVERAGE_FILE": str(data)})
        if ended.returncode != PASSED:
            if ended.returncode == FAILED:
                raise TestsFailed(f"the tests in {tests} fail with nothing changed: {_last_line(ended.stdout)}")
            problems = [line for line in ended.stderr.splitlines() if "rror" in line]
            why = problems[0] if problems else _last_line(ended.stdout)
            raise TestsFailed(f"the tests in {tests} cannot be run: {why}")
        passed = {test: note["seconds"] for test, note in json.loads(notes.read_text()).items() if note["passed"]}
        write_whole(kept, {"tests": _by_line(data, passed), "seconds": passed})
        data.unlink()
    return Reached(**json.loads(kept.read_text(encoding="utf-8")))


def _by_line(data: Path, passed: Mapping[str, float]) -> dict[str, dict[str, list[str]]]:
    report = data.with_suffix(".json")
    command = [sys.executable, "-m", "coverage", "json", "-q", "--show-contexts", f"--data-file={data}"]
    ended = subprocess.run([*command, "-o", str(report)], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise TestsFailed(f"coverage.py gives no report of the tests: {_last_line(ended.stdout + ended.stderr)}")
    root = Path(zoo.__file__).parent.resolve()
    lines: dict[str, dict[str, list[str]]] = {}
    for name, found in json.loads(report.read_text(encoding="utf-8"))["files"].items():
        path = Path(name).resolve()
        if path.is_relative_to(root):
            lines[path.relative_to(root).as_posix()] = {
                line: sorted({context.rpartition("|")[0] for context in contexts} & passed.keys())
                for line, contexts in found["contexts"].items()
            }
    report.unlink()
    return lines


def _pytest(
    options: Sequence[str], root: Path, environment: Mapping[str, str], timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", PLUGIN, "-p", "no:cacheprovider", *options]
    # Without a seed of its own a test would draw other examples with the change than without.
    values = {**os.environ, "HYPOTHESIS_PROFILE": "ci", "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, cwd=root, env=values, timeout=timeout, capture_output=True, text=True, check=False)


def _root(tests: Path) -> Path:
    """The folder of the project, in which its tests are run."""
    tests = tests.resolve()
    return next((folder for folder in (tests, *tests.parents) if (folder / "pyproject.toml").exists()), tests)


def _sum_of(tests: Path) -> str:
    """Of all their files, of the project's settings for them, and of the harness, which tests use too."""
    tests = tests.resolve()
    files = [file for file in tests.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    files += Path(str(harness.__file__)).parent.rglob("*.py")
    total = hashlib.sha256()
    for file in [*sorted(files), _root(tests) / "pyproject.toml"]:
        total.update(os.path.relpath(file, tests).encode() + (file.read_bytes() if file.exists() else b""))
    return total.hexdigest()[:12]


def missing_packages() -> list[str]:
    """What must be installed before tests can be run."""
    return sorted(package for module, package in NEEDED.items() if find_spec(module) is None)


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")
