"""Ending everything that a process has started: also what left its group, its session or its parent."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil

PR_SET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE = 1, 3, 4
PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER = 36, 37
PATIENCE = 5.0
"""Seconds for killed processes to disappear."""
PAUSE = 0.01


def adopt_orphans(wanted: bool = True) -> bool:
    """On Linux, become the parent of every descendant whose parent ends; the earlier setting. Elsewhere nothing."""
    before = ctypes.c_int(0)
    _prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(before))
    _prctl(PR_SET_CHILD_SUBREAPER, int(wanted))
    return bool(before.value)


def die_with_parent() -> None:
    """On Linux, be killed when the parent ends."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def on_guard() -> Iterator[Callable[[], None]]:
    """While a check runs: adopt orphans, and keep memory and environment from other processes of the same user.

    Gives a function that ends the orphans adopted since.
    """
    adopting, dumpable = adopt_orphans(), _prctl(PR_GET_DUMPABLE, 0)
    if dumpable == 1:
        _prctl(PR_SET_DUMPABLE, 0)
    before = {child.pid for child in _descendants(os.getpid())}
    try:
        yield lambda: end_all(lambda: _adopted(before))
    finally:
        adopt_orphans(adopting)
        if dumpable == 1:
            _prctl(PR_SET_DUMPABLE, 1)


def end_descendants(process: int) -> None:
    """Kill every descendant of a process, and those that they start meanwhile."""
    end_all(lambda: _descendants(process))


def end_all(found: Callable[[], Iterable[psutil.Process]]) -> None:
    """Stop all, so that none starts another, then kill all, until none is found."""
    until = time.monotonic() + PATIENCE
    stopped: set[int] = set()
    while new := [process for process in found() if process.pid not in stopped]:
        for process in new:
            _send(process, signal.SIGSTOP)
            stopped.add(process.pid)
        if time.monotonic() > until:
            break
    while time.monotonic() < until and (left := list(found())):
        for process in left:
            _send(process, signal.SIGKILL)
            with suppress(OSError):  # an orphan that this process adopted stays until it is waited for
                os.waitpid(process.pid, os.WNOHANG)
        time.sleep(PAUSE)


def memory_and_number(process: int) -> tuple[int, int]:
    """Resident bytes of all descendants of a process, and their number."""
    total, number = 0, 0
    for descendant in _descendants(process):
        with suppress(psutil.Error):
            total += descendant.memory_info().rss
            number += 1
    return total, number


def _descendants(process: int) -> list[psutil.Process]:
    try:
        found = psutil.Process(process).children(recursive=True)
    except psutil.Error:
        return []
    return [child for child in found if _lives(child)]


def _adopted(before: set[int]) -> list[psutil.Process]:
    """Descendants that this process did not start: theirs is another session, and none can join an existing one."""
    mine = os.getsid(0)
    return [child for child in _descendants(os.getpid()) if child.pid not in before and _session(child) != mine]


def _session(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except OSError:
        return os.getsid(0)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _send(process: psutil.Process, number: int) -> None:
    with suppress(psutil.Error):
        process.send_signal(number)


def _prctl(option: int, value: Any) -> int:
    if sys.platform != "linux":
        return -1
    return int(ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0))
