"""A clean stop on Ctrl-C or SIGTERM: the step is finished, the state is saved, and only then training returns."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

from cortexzoo.zoo.training.result import StopReason

REASONS: dict[int, StopReason] = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}

_left_alone: ContextVar[bool] = ContextVar("left_alone", default=False)


@contextmanager
def signals_left_alone() -> Iterator[None]:
    """Within this block training stops at no signal: it is part of something else, which the signal ends as a whole."""
    token = _left_alone.set(True)
    try:
        yield
    finally:
        _left_alone.reset(token)


@contextmanager
def stop_on_signals(stop: Callable[[StopReason], None]) -> Iterator[None]:
    """Call `stop` at the first SIGINT or SIGTERM; a second SIGINT raises `KeyboardInterrupt` at once.

    The handlers that were there before are put back. Outside the main thread Python allows none: nothing changes.
    """
    if _left_alone.get() or threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: set[int] = set()

    def handle(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and number in seen:
            raise KeyboardInterrupt
        seen.add(number)
        stop(REASONS[number])

    before = {number: signal.signal(number, handle) for number in REASONS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
