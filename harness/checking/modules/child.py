"""A module's process as its check sees it: started with a key, read without waiting, ended with all that it started."""

import json
import os
import queue
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from cortexzoo.harness.checking.modules.channel import Receiver
from cortexzoo.harness.checking.modules.environment import scrubbed
from cortexzoo.harness.checking.modules.limits import memory_limit
from cortexzoo.harness.checking.modules.processes import end_descendants
from cortexzoo.specs.plain_text import one_line

PIECE = 1 << 16
MOST_WAITING = 64
"""Pieces of results that may wait to be read; what comes after them waits in the child."""
KEPT = 1 << 14
"""Bytes of standard error that are kept: the last."""
MOST_WRITTEN = 64 << 20
"""Bytes of standard error, after which the process is ended."""
GRACE = 2.0
"""Seconds for the warden to end everything, before this process does."""
PAUSE = 0.01
PREFIX = "cortexzoo-module-"
FATAL = re.compile(r"Fatal Python error.*")
WARDEN = "cortexzoo.harness.checking.modules.warden"


class Child:
    """One process group that runs a module."""

    def __init__(self, request: Mapping[str, Any], folder: Path) -> None:
        key = secrets.token_bytes(32)
        self.memory = memory_limit()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-X", "faulthandler", "-m", WARDEN],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=scrubbed(folder, asked=request["environment"]),
            start_new_session=True,
        )
        self._receiver = Receiver(key)
        self._arrived: queue.Queue[bytes] = queue.Queue(MOST_WAITING)
        self._last_words = b""
        self.written = 0
        """Bytes of standard error."""
        self._over = threading.Event()
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self._threads = [
            threading.Thread(target=self._read, args=(self.process.stdout, self._keep), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stderr, self._remember), daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        line = json.dumps({**request, "key": key.hex(), "memory": self.memory}) + "\n"
        with suppress(BrokenPipeError):  # it has died: its exit code is the report
            self.process.stdin.write(line.encode())
            self.process.stdin.flush()

    def news(self, wait: float) -> Iterator[tuple[str, Any]]:
        """Every event that is complete, after waiting for one for at most `wait` seconds. Raises `Tampered`."""
        with suppress(queue.Empty):
            yield from self._receiver.events(self._arrived.get(timeout=wait))
            while True:
                yield from self._receiver.events(self._arrived.get_nowait())

    def last_news(self) -> Iterator[tuple[str, Any]]:
        """Every event that it had sent when it died. Raises `Tampered`."""
        until = time.monotonic() + GRACE
        while self._threads[0].is_alive() and time.monotonic() < until:
            yield from self.news(PAUSE)
        yield from self.news(PAUSE)

    def how_it_died(self) -> str:
        """The exit code in words, with the last line that the process wrote."""
        code = self.process.returncode
        self._threads[1].join(GRACE)
        name = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        words = self._last_words.decode(errors="replace").strip()
        fatal = FATAL.findall(words) or words.splitlines()[-1:]
        return f"the process died with {name}" + (f" ({one_line(fatal[0].strip(), 200)})" if fatal else "")

    def end(self, orphans: Callable[[], None]) -> None:
        """End it and everything that it started."""
        assert self.process.stdin and self.process.stdout and self.process.stderr
        with suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            end_descendants(self.process.pid)
            self.process.kill()
            self.process.wait()
        if self.process.returncode:
            orphans()
        self._over.set()
        for thread in self._threads:
            thread.join(GRACE)

    def _read(self, pipe: IO[bytes], take: Callable[[bytes], None]) -> None:
        with pipe, suppress(OSError, ValueError):
            while piece := os.read(pipe.fileno(), PIECE):
                take(piece)

    def _keep(self, piece: bytes) -> None:
        while not self._over.is_set():
            with suppress(queue.Full):
                self._arrived.put(piece, timeout=0.1)
                return

    def _remember(self, piece: bytes) -> None:
        self._last_words = (self._last_words + piece)[-KEPT:]
        self.written += len(piece)
        while self.written > MOST_WRITTEN and not self._over.wait(PAUSE):  # what writes more waits for its end
            pass


@contextmanager
def started(request: Mapping[str, Any], orphans: Callable[[], None]) -> Iterator[Child]:
    """A child with a folder for temporary files, both gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        child = Child(request, folder)
        try:
            yield child
        finally:
            child.end(orphans)
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Also folders nested deeper than Python can recurse, or without permissions."""
    with suppress(RecursionError, OSError):
        shutil.rmtree(folder)
    if folder.exists() and os.name == "posix":
        subprocess.run(["chmod", "-R", "u+rwx", "--", str(folder)], stderr=subprocess.DEVNULL, check=False)
        subprocess.run(["rm", "-rf", "--", str(folder)], stderr=subprocess.DEVNULL, check=False)
