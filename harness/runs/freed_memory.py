"""What becomes of memory that is freed: in training it stays with the process, since the next step needs it again.

By default glibc gives memory at the end of the heap back to the system as soon as it is freed, and each step asks for
it again, a page fault for every 4 kB: 5 to 13 % of the time of a step of the shipped models.
"""

import ctypes
import os
import sys
from contextlib import suppress

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Numbers of mallopt(3)."""
KEPT = 1 << 30
"""Bytes that are freed at the end of the heap and kept."""
FROM_THE_HEAP = 64 << 20
"""Blocks up to so many bytes; larger ones come from the system and go back to it when they are freed."""


def keep_freed_memory() -> bool:
    """From now on, in this process. Says whether it does: other C libraries than glibc stay as they are.

    It stays as it is, too, where the environment sets MALLOC_TRIM_THRESHOLD_ or MALLOC_MMAP_THRESHOLD_.
    """
    chosen = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & os.environ.keys()
    if not sys.platform.startswith("linux") or chosen:
        return False
    with suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(TRIM_THRESHOLD, KEPT)) and bool(mallopt(MMAP_THRESHOLD, FROM_THE_HEAP))
    return False
