"""Aim's own pages for one repository, on this machine only, for as long as they are wanted."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cortexzoo.harness.errors import BadInput
from cortexzoo.harness.tracking.aim.guard import Guard, guarding
from cortexzoo.harness.tracking.aim.sink import AimError

HOST = "127.0.0.1"
PATIENCE = 60.0
"""Seconds until the server must answer: it upgrades its data base first."""
GRACE = 5.0
"""Seconds that it has for ending by itself."""
START = "from aim.cli.cli import cli_entry_point; cli_entry_point()"


def require_free(port: int) -> None:
    """Raises `BadInput` when another program uses the port."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as problem:
            why = f"cannot be used: {problem.strerror or problem}"
            raise BadInput(f"--port {port}: {why}; choose another port, or stop the program there") from None


@contextmanager
def serving(runs: Path, port: int) -> Iterator[Guard]:
    """Run Aim's server for the repository in `runs` behind a guard; stopped, workers and all, when left.

    The server itself listens on a socket in a folder of this user. Raises `AimError` when it does not come up.
    """
    require_free(port)
    with tempfile.TemporaryDirectory(prefix="cortexzoo-aim-") as folder:
        upstream = Path(folder) / "socket"
        with _running(runs, upstream), guarding(HOST, port, upstream) as guard:
            yield guard


@contextmanager
def _running(runs: Path, upstream: Path) -> Iterator[None]:
    options = ["up", "-y", "-w", "1", "--read-only", "--uds", str(upstream), "--repo", str(runs)]
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", START, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Its workers outlive it, so a group of its own is stopped as a whole; Ctrl-C must not reach it before us.
        start_new_session=True,
    )
    try:
        _wait(server, upstream)
        yield
    finally:
        _stop(server)


def command(runs: Path, port: int) -> str:
    """What starts the same server by hand."""
    return f"aim up -y -w 1 --read-only -h {HOST} -p {port} --repo {runs}"


def _wait(server: subprocess.Popen[bytes], upstream: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if server.poll() is not None:
            raise AimError(f"Aim's server ended with {server.returncode} before it answered")
        with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(upstream))
            return
        time.sleep(0.2)
    raise AimError(f"Aim's server did not answer within {PATIENCE:g} s")


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Signal the whole group to end, and kill what is left after a while."""
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    end = time.monotonic() + GRACE
    while time.monotonic() < end:
        server.poll()
        try:
            os.killpg(server.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
