"""Freed memory stays with the process: a loop that frees and asks again causes next to no page faults."""

import os
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from contextlib import nullcontext
import psutil
from cortexzoo.harness.runs.freed_memory import freed_memory_stays
torch.set_num_threads(1)
def work():
    blocks = [torch.ones(12 << 20) for _ in range(3)]  # 48 MiB each, more than glibc ever keeps by itself
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
with freed_memory_stays() if sys.argv[1] == "keep" else nullcontext(False) as kept:
    for _ in range(3):
        work()
    before, at_rest = faults(), psutil.Process().memory_info().rss
    for _ in range(5):
        work()
    found = faults() - before
print(int(kept), found, at_rest - psutil.Process().memory_info().rss)
"""


def _faults(choice: str, **environment: str) -> tuple[bool, int, int]:
    """Whether memory stayed, page faults meanwhile, and bytes that went back at the end."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, choice], check=True, capture_output=True, text=True, env=_with(environment)
    )
    kept, faults, given_back = map(int, done.stdout.split())
    return bool(kept), faults, given_back


def _with(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")} | environment


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_what_is_freed_is_used_again() -> None:
    kept, with_kept, given_back = _faults("keep")
    if not kept:
        pytest.skip("no glibc")
    _, without, _ = _faults("leave")
    assert 4 * with_kept < without
    assert given_back > 100 * 2**20, "three blocks of 48 MiB are free at the end"


def test_what_the_environment_says_stays() -> None:
    assert _faults("keep", MALLOC_TRIM_THRESHOLD_="131072")[0] is False
