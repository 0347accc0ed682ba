"""What a module's process may take: set by itself before it imports the module, so that its children have them too."""

import sys
from contextlib import suppress
from pathlib import Path

LARGEST_FILE = 1 << 30
MOST_FILES = 1024
MOST_PROCESSES = 64
"""Processes of one check at a time."""
MOST_TASKS = 512
"""Threads and processes that the user may have more than at the start; the system does not count them for root."""
SHARE = 0.8
"""Of the memory that is free when a check begins."""
LEAST_MEMORY = 1 << 30
GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def memory_limit() -> int:
    """Bytes that a module's processes may take together."""
    import psutil

    there = psutil.virtual_memory().available
    with suppress(OSError, ValueError):
        there = min(there, int(GROUP_LIMIT.read_text()))
    return max(int(there * SHARE), LEAST_MEMORY)


def limit_this_process(memory: int) -> None:
    """Bound the memory, the size and number of files, and the tasks of this process and its children; no core files."""
    if sys.platform == "win32":
        return
    import resource

    _lower(resource.RLIMIT_DATA, memory)
    _lower(resource.RLIMIT_FSIZE, LARGEST_FILE)
    _lower(resource.RLIMIT_NOFILE, MOST_FILES)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NPROC, _tasks_of_user() + MOST_TASKS)


def _lower(kind: int, most: int) -> None:
    import resource

    soft, hard = resource.getrlimit(kind)
    finite = [limit for limit in (soft, hard, most) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(kind, (min(finite), min(finite)))


def _tasks_of_user() -> int:
    import os

    import psutil

    found = psutil.process_iter(["uids", "num_threads"])
    return sum(p.info["num_threads"] or 1 for p in found if p.info["uids"] and p.info["uids"].real == os.getuid())
