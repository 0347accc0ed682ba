"""What else a machine does while a run is trained: a speed that was measured beside other work is lower."""

import time

import psutil

OTHER_CORES = "other_busy_cores"
"""In a summary: cores that other processes kept busy while the run was trained."""


class OtherLoad:
    """Watches the processor time that other processes take from its creation on."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._busy, self._own = _busy_seconds(), _own_seconds()

    def cores(self) -> float:
        """Cores that other processes kept busy on average since then."""
        seconds = max(time.perf_counter() - self._began, 1e-9)
        others = (_busy_seconds() - self._busy) - (_own_seconds() - self._own)
        return round(max(others, 0.0) / seconds, 2)


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.system)


def _own_seconds() -> float:
    times = psutil.Process().cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)
