"""What a process started ends with it, wherever it went."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from cortexzoo.harness.checking.modules.environment import scrubbed
from cortexzoo.harness.checking.modules.processes import (
    adopt_orphans,
    end_descendants,
    memory_and_number,
    on_guard,
)

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to an ancestor that wants them")
DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve("/bin/sh", ["sh", "-c", "echo $$ > $0/pid; sleep 300", sys.argv[1]], {"PATH": "/usr/bin:/bin"})
    os._exit(0)
os.wait()
"""


@contextmanager
def daemon_of(code: str, folder: Path) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], start_new_session=True) as process:
        pid = folder / "pid"
        while not (pid.exists() and pid.read_text().strip()):
            time.sleep(0.01)
        try:
            yield process, int(pid.read_text())
        finally:
            process.kill()


def lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@linux
def test_a_daemon_is_found_below_a_process_that_adopts_orphans(tmp_path: Path) -> None:
    adopting = "from cortexzoo.harness.checking.modules.processes import adopt_orphans; adopt_orphans()\n"
    with daemon_of(adopting + DAEMON + "time.sleep(300)", tmp_path) as (process, daemon):
        assert lives(daemon) and memory_and_number(process.pid)[1] >= 1
        end_descendants(process.pid)
        assert not lives(daemon) and process.poll() is None


@linux
def test_a_daemon_whose_ancestors_ended_is_found_here(tmp_path: Path) -> None:
    before = adopt_orphans()
    try:
        with on_guard() as end_orphans, daemon_of(DAEMON, tmp_path) as (process, daemon):
            process.wait()
            mine = subprocess.Popen(["sleep", "300"])
            end_orphans()
            assert not lives(daemon)
            assert lives(mine.pid), "a process that was started here is none of the check's"
            mine.kill()
            mine.wait()
        assert adopt_orphans() is True, "the setting from before"
    finally:
        adopt_orphans(before)


def test_the_environment_is_a_list_of_what_passes() -> None:
    given = {"PATH": "/bin", "HF_TOKEN": "s", "AWS_SECRET_ACCESS_KEY": "s", "OMP_NUM_THREADS": "8", "PYTHONPATH": "/p"}
    passed = scrubbed(Path("/elsewhere"), {**given, "CORTEXZOO_KEY": "s", "PYTHONSTARTUP": "/x"})
    assert "s" not in passed.values() and "PYTHONSTARTUP" not in passed
    assert passed["OMP_NUM_THREADS"] == "1" and passed["TMPDIR"] == "/elsewhere" and passed["PATH"] == "/bin"
    assert passed["PYTHONPATH"].endswith("/p")
    assert scrubbed(Path("/elsewhere"), given, asked=["HF_TOKEN"])["HF_TOKEN"] == "s"
