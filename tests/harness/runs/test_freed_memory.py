"""Freed memory stays with the process: a loop that frees and asks again causes next to no page faults."""

import os
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from cortexzoo.harness.runs.freed_memory import keep_freed_memory
torch.set_num_threads(1)
kept = keep_freed_memory() if sys.argv[1] == "keep" else False
def work():
    blocks = [torch.ones(12 << 20) for _ in range(3)]  # 48 MiB each, more than glibc ever keeps by itself
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    work()
before = faults()
for _ in range(5):
    work()
print(int(kept), faults() - before)
"""


def _faults(choice: str, **environment: str) -> tuple[bool, int]:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, choice], check=True, capture_output=True, text=True, env=_with(environment)
    )
    kept, faults = map(int, done.stdout.split())
    return bool(kept), faults


def _with(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")} | environment


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_what_is_freed_is_used_again() -> None:
    kept, with_kept = _faults("keep")
    if not kept:
        pytest.skip("no glibc")
    _, without = _faults("leave")
    assert 10 * with_kept < without


def test_what_the_environment_says_stays() -> None:
    assert _faults("keep", MALLOC_TRIM_THRESHOLD_="131072")[0] is False
