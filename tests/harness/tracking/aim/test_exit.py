"""A program that used Aim ends in time, whatever becomes of Aim's finalisers."""

import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("aim", reason="Aim is not available for this Python or system")

from cortexzoo.harness.tracking.deadlines import CLOSING

START_UP = 60.0
"""Seconds, on a loaded machine, for importing Aim."""


@pytest.mark.parametrize(
    ("action", "errors"),
    [
        ("raise OSError('disk full')", ""),
        (
            "threading.Event().wait()",
            "Aim did not close: `cortexzoo aim-sync` writes its runs again from their folders\n",
        ),
    ],
)
def test_a_finaliser_that_fails_or_hangs_does_not_keep_the_program(tmp_path: Path, action: str, errors: str) -> None:
    program = textwrap.dedent(
        f"""
        import sys, threading, time
        from pathlib import Path
        from cortexzoo.harness.tracking.aim.sink import AimSink
        from cortexzoo.harness.tracking.deadlines import leave
        from aim.ext.cleanup import AutoClean

        class Broken(AutoClean):
            PRIORITY = 100
            def _close(self):
                {action}

        class Resource:
            pass

        sink = AimSink(Path(sys.argv[1]), experiment="tiny")
        resource = Resource()
        broken = Broken(resource)
        print(time.time())
        leave(3)
        """
    )
    command = [sys.executable, "-W", "ignore", "-c", program, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=START_UP + 3 * CLOSING)
    seconds = time.time() - float(ended.stdout)
    assert (ended.returncode, ended.stderr) == (3, errors)
    assert seconds < 3 * CLOSING


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a file system takes more rights")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_ends_the_run_in_time_with_one_line(small_disk: Path) -> None:
    small = ["--set", "recipe.steps=8", "--set", "variant.hidden_size=32", "--no-check"]
    command = [
        sys.executable,
        "-m",
        "cortexzoo",
        "train",
        "cortexgpt-stable",
        *small,
        "--runs",
        str(small_disk / "runs"),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=2 * START_UP)
    assert ended.returncode == 3
    assert "No space left on device" in ended.stderr and "Traceback" not in ended.stderr
