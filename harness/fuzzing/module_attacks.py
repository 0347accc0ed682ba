"""Modules that attack the process that checks them: none may pass by it, hang the check, or leave anything behind."""

import os
import random
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from cortexzoo.harness.checking.modules import limits
from cortexzoo.harness.fuzzing.attacking_code import ACTS, HEALTHY, MOMENTS
from cortexzoo.harness.fuzzing.campaign import Command, Report, Rules, called

SUITE = """\
kind: suite
name: attacked
properties:
  determinism: {}
  any_shape_works: {}
  batch_isolation: {}
"""
SECRET, VALUE = "CORTEXZOO_FUZZ_SECRET", "must-not-be-seen"
SLOWEST = 90.0
"""Seconds by the clock, in which a module may hang three times."""


def attacked(seed: int, cases: int, folder: Path, command: Command, watch: Callable[[Report], None]) -> Report:
    """Check modules in `folder` that do one of `ACTS` at one of `MOMENTS`; equal seeds, equal cases.

    The check must end with 1 or 2, or with 0 where the act leaves the module healthy, in bounded time and lines. No
    process and no folder remains.
    """
    report = Report("modules", seed)
    (folder / "suite.yaml").write_text(SUITE)
    os.environ[SECRET] = VALUE
    try:
        for number in range(cases):
            dice = random.Random(f"{seed}/{number}")
            acts = list(ACTS)
            # Each act once before any comes twice, so that few cases see as many of them as they can.
            name = random.Random(f"{seed}/{number // len(acts)}").sample(acts, len(acts))[number % len(acts)]
            moment = dice.choice([m for m in MOMENTS if not (ACTS[name].alone and m == "beside")])
            attack(report, number, name, moment, folder, command)
            watch(report)
    finally:
        del os.environ[SECRET]
    return report


def attack(report: Report, number: int, name: str, moment: str, folder: Path, command: Command) -> None:
    """One case: the module is written, checked, and the rules are applied."""
    mark = f"cortexzoo-mark-{os.getpid()}-{number}"
    file, temporary = folder / "attacking.py", folder / "temporary"
    temporary.mkdir(exist_ok=True)
    file.write_text(source(name, moment, mark))
    arguments = ["check", "--module", f"{file}:make", "--suite", str(folder / "suite.yaml"), "--budget", "4s"]
    began = time.monotonic()
    with _confined(temporary):
        outcome = called(command, [*arguments, "--runs", str(folder / "runs"), "--max-length", "64"])
    seconds = time.monotonic() - began
    codes = frozenset({0, 1, 2} if ACTS[name].harmless else {1, 2})
    breaches = outcome.breaches(Rules(codes=codes, seconds=SLOWEST, megabytes=500.0))
    if seconds > SLOWEST:
        breaches.append(f"took {seconds:.0f} s by the clock")
    if VALUE in outcome.out + outcome.errors:
        breaches.append("a secret of the environment was visible")
    if left := _left(mark, temporary):
        breaches.append(f"{len(left)} processes are left")
        for process in left:
            with suppress(psutil.Error):
                process.kill()
    if more := list(temporary.iterdir()):
        breaches.append(f"the folder {min(more).name} is left")
    report.add(number, outcome, [f"{name}, {moment}: {breach}" for breach in breaches])


def source(name: str, moment: str, mark: str) -> str:
    """The module's file."""
    places = {"forward": "pass", "make": "pass", "loaded": "", **MOMENTS[moment]}
    if ACTS[name].slow and moment == "beside":
        places["forward"] = "BESIDE.join()"
    return HEALTHY.format(mark=mark, act=textwrap.indent(ACTS[name].code.strip("\n"), "    "), **places)


@contextmanager
def _confined(folder: Path) -> Iterator[None]:
    """Temporary files go to `folder`, and a module gets the least memory: the machine may be in use."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    share, limits.SHARE = limits.SHARE, 0.0
    try:
        yield
    finally:
        tempfile.tempdir, limits.SHARE = before, share


def _left(mark: str, temporary: Path) -> list[psutil.Process]:
    """Processes with the mark of this case, or with its folder for temporary files."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            lives = process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE
            if lives and (mark in " ".join(process.cmdline()) or str(temporary) in process.environ().get("TMPDIR", "")):
                found.append(process)
    return found
