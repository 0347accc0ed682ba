"""What a campaign does with each case: call the command, and check the result against a few rules."""

import io
import os
import re
import resource
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from typing import Any

from cortexzoo.specs.plain_text import LONGEST_LINE, MOST_LINES

Command = Callable[[Sequence[str]], int]
"""A command line without the program's name -> its exit code."""

HOSTILE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
"""What no terminal may get: control characters and marks that turn the direction of writing."""
DEFECT = "This is a bug in cortexzoo"
KILOBYTE = 1024
LONGEST = 120.0
"""Seconds of processor time that a command in this process has."""


@dataclass(frozen=True)
class Rules:
    """What every case must keep to."""

    codes: frozenset[int] = frozenset({0, 2})
    seconds: float = 2.0
    """Processor time of this process and of those that it started: other programs do not count."""
    megabytes: float = 300.0
    """By which the peak memory of any of these processes may grow in one case."""
    lines: int = MOST_LINES
    """On standard error."""
    line_length: int = LONGEST_LINE


@dataclass(frozen=True)
class CaseResult:
    """What one call did."""

    arguments: tuple[str, ...]
    code: int | None
    """None: the command raised an exception."""
    out: str
    errors: str
    seconds: float
    megabytes: float

    def breaches(self, rules: Rules) -> list[str]:
        """Every rule that was broken, in words."""
        lines = self.errors.splitlines()
        found = []
        if DEFECT in self.errors or "Traceback" in self.errors or self.code is None:
            found.append(f"an exception: {next((line for line in reversed(lines) if 'Error' in line), '')[:200]}")
        elif self.code not in rules.codes:
            found.append(f"exit code {self.code}")
        if self.seconds > rules.seconds:
            found.append(f"took {self.seconds:.1f} s")
        if self.megabytes > rules.megabytes:
            found.append(f"took {self.megabytes:.0f} MB")
        if len(lines) > rules.lines:
            found.append(f"{len(lines)} lines on standard error")
        if (longest := max(map(len, lines), default=0)) > rules.line_length:
            found.append(f"a line of {longest} characters")
        if hostile := HOSTILE.search(self.out + self.errors):
            found.append(f"a raw {hostile[0]!r} reached the terminal")
        if self.code not in (0, 1, None) and not lines:
            found.append(f"exit code {self.code} without a line on standard error")
        return found


@dataclass
class Report:
    """What a campaign came to."""

    name: str
    seed: int
    cases: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    failures: list[dict[str, Any]] = field(default_factory=list)

    def add(self, number: int, outcome: CaseResult, breaches: Sequence[str]) -> None:
        self.cases += 1
        self.codes[str(outcome.code)] += 1
        self.slowest = max(self.slowest, outcome.seconds)
        if breaches:
            arguments = [argument[:300] for argument in outcome.arguments]
            self.failures.append({"case": number, "arguments": arguments, "breaches": list(breaches)})

    def as_json(self) -> dict[str, Any]:
        return {
            "campaign": self.name,
            "seed": self.seed,
            "cases": self.cases,
            "exit_codes": dict(sorted(self.codes.items())),
            "slowest_seconds": round(self.slowest, 2),
            "failures": self.failures,
        }


def set_options(changes: Iterable[str]) -> list[str]:
    """Changes of a spec as a command line gives them: `--set` before each."""
    return [part for change in changes for part in ("--set", change)]


class TooSlowError(BaseException):
    """A command took `LONGEST` seconds: no error that it may handle."""


def called(command: Command, arguments: Sequence[str]) -> CaseResult:
    """Call the command in this process and note what it did; one that does not end is stopped."""
    out, errors = io.StringIO(), io.StringIO()
    before, began = _peak(), _processor_time()
    code: int | None
    with redirect_stdout(out), redirect_stderr(errors), _ends_after(LONGEST):
        try:
            code = command(arguments)
        except BaseException as problem:
            if isinstance(problem, KeyboardInterrupt):
                raise
            errors.write(f"{type(problem).__name__}: {problem}")
            code = None
    seconds = _processor_time() - began
    return CaseResult(tuple(arguments), code, out.getvalue(), errors.getvalue(), seconds, _peak() - before)


def in_a_process_of_its_own(arguments: Sequence[str]) -> int:
    """The program as users start it, in a new process; what it writes is written here."""
    done = subprocess.run([sys.executable, "-m", "cortexzoo", *arguments], capture_output=True)
    sys.stdout.write(done.stdout.decode(errors="replace"))
    sys.stderr.write(done.stderr.decode(errors="replace"))
    return done.returncode


def attacked(
    name: str,
    seed: int,
    cases: Iterable[tuple[int, Sequence[str]]],
    command: Command,
    rules: Rules,
    *,
    warm: Sequence[Sequence[str]] = (),
    watch: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Every case of a campaign, judged by its rules, after the command lines `warm`, which import what is heavy.

    A process of its own imports as they do: then the time of the slowest of them is added to that of a case.
    """
    report = Report(name, seed)
    imports = max((called(command, arguments).seconds for arguments in warm), default=0.0)
    if command is in_a_process_of_its_own:
        rules = replace(rules, seconds=rules.seconds + imports)
    for number, arguments in cases:
        outcome = called(command, arguments)
        report.add(number, outcome, outcome.breaches(rules))
        watch(report)
    return report


@contextmanager
def _ends_after(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TooSlowError(f"ended after {seconds:g} s of processor time")

    handler = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)


def _processor_time() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _peak() -> float:
    """The most memory that this process, or one that it started and awaited, ever took, in MB."""
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return peak / KILOBYTE if sys.platform != "darwin" else peak / KILOBYTE**2
