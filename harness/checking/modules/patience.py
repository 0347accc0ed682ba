"""How long a process may be silent: separates what hangs from what a busy machine only slows down."""

import time
from collections.abc import Callable

import psutil

IDLE = 0.02
"""CPU seconds a second, below which a process waits for something; one that a busy machine slows down gets more."""


class Patience:
    """Is over once a process has computed for `limit` seconds since it was renewed, or idled for as long."""

    def __init__(
        self,
        process: int,
        limit: float,
        now: Callable[[], float] = time.monotonic,
        computed: Callable[[int], float] | None = None,
    ) -> None:
        self._process, self._now, self._computed = process, now, computed or cpu_seconds
        self.renew(limit)

    def renew(self, limit: float) -> None:
        """Begin anew, with another limit."""
        self.limit = limit
        self._since, self._before = self._now(), self._computed(self._process)

    @property
    def is_over(self) -> bool:
        passed = self._now() - self._since
        if passed <= self.limit:
            return False
        computed = self._computed(self._process) - self._before
        return computed > self.limit or computed < IDLE * passed


def cpu_seconds(process: int) -> float:
    """What a process has computed in all its threads; 0 once it has ended."""
    try:
        times = psutil.Process(process).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
