"""What becomes of memory that is freed: in training it stays with the process, since the next step needs it again.

By default glibc gives memory at the end of the heap back to the system as soon as it is freed, and each step asks for
it again, a page fault for every 4 kB: 5 to 11 % of the time of a step of the shipped models.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Numbers of mallopt(3)."""
KEPT, FROM_THE_HEAP = 1 << 30, 64 << 20
"""Bytes that are freed at the end of the heap and kept. Larger blocks come from the system and go back to it."""
USUALLY_KEPT, USUALLY_FROM_THE_HEAP = 64 << 20, 32 << 20
"""Where glibc's own thresholds end, which grow with what is freed."""


@contextmanager
def freed_memory_stays() -> Iterator[bool]:
    """Meanwhile, in this process. Says whether it does: other C libraries than glibc are left as they are.

    So is glibc where the environment sets MALLOC_TRIM_THRESHOLD_ or MALLOC_MMAP_THRESHOLD_. At the end what is free
    goes back to the system.
    """
    stays = _set_thresholds(KEPT, FROM_THE_HEAP)
    try:
        yield stays
    finally:
        if stays:
            _set_thresholds(USUALLY_KEPT, USUALLY_FROM_THE_HEAP)
            ctypes.CDLL(None).malloc_trim(0)


def _set_thresholds(kept: int, from_the_heap: int) -> bool:
    chosen = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & os.environ.keys()
    if not sys.platform.startswith("linux") or chosen:
        return False
    c = ctypes.CDLL(None)
    if not hasattr(c, "mallopt") or not hasattr(c, "malloc_trim"):
        return False
    return bool(c.mallopt(TRIM_THRESHOLD, kept)) and bool(c.mallopt(MMAP_THRESHOLD, from_the_heap))
