"""Deadlines for trackers: on a full disk, or without file descriptors, their libraries may wait for ever."""

import atexit
import os
import sys
import threading
from collections.abc import Callable
from typing import NoReturn, TypeVar

CLOSING = 5.0
"""Seconds for closing a tracker, and for what it does at the end of the program."""
OPENING = 90.0
"""Seconds for opening a tracker: another process may lock its repository for a minute."""

T = TypeVar("T")
_left_behind: list[str] = []
_closing: list[Callable[[], None]] = []


class DeadlineMissed(Exception):
    """A call that did not return in time. The message is one line."""


def call_within(seconds: float, what: str, action: Callable[[], T]) -> T:
    """Call `action` in a thread of its own and return its value, or raise what it raises. Ctrl-C ends the wait.

    Raises `DeadlineMissed` after so many seconds. The thread is then left behind: `is_stuck` is true from then on.
    """
    values: list[T] = []
    problems: list[BaseException] = []
    ended = threading.Event()

    def run() -> None:
        try:
            values.append(action())
        except BaseException as problem:
            problems.append(problem)
        finally:
            ended.set()

    threading.Thread(target=run, name=what, daemon=True).start()
    in_time = False
    try:
        in_time = ended.wait(seconds)
    finally:
        if not in_time:
            _left_behind.append(what)
    if not in_time:
        raise DeadlineMissed(f"{what} took more than {seconds:g} s")
    if problems:
        raise problems[0]
    return values[0]


def is_stuck() -> bool:
    """Whether a call was left behind. The interpreter may then wait for it while it shuts down."""
    return bool(_left_behind)


def close_at_exit(close: Callable[[], None]) -> None:
    """Call `close`, which must keep a deadline, when the program ends."""
    _closing.append(close)
    atexit.register(close)


def leave(code: int) -> NoReturn:
    """End the program with this exit code, at once if a call was left behind."""
    for close in _closing:
        close()
    if is_stuck():
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                continue
        os._exit(code)
    sys.exit(code)
