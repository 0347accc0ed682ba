"""A headless Chromium for tests, driven over a pipe: what a page logs, what it asks the network for, how it looks."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe", "--hide-scrollbars",
)  # fmt: skip


def installed() -> str | None:
    """The path of a browser; None: there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """One page; every event that came so far is in `events`."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self.events: list[dict[str, Any]] = []
        self._to, self._from = to_browser, from_browser
        self._buffer, self._calls = b"", 0
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def open(self, address: str, width: int = 1200, height: int = 900) -> None:
        """Load a page and wait until its load event."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Page.navigate", url=address)
        end = time.monotonic() + 60
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            assert time.monotonic() < end, f"{address} did not load"
            self.wait(0.1)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def screenshot(self, file: Path) -> None:
        """Write what is visible as PNG."""
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def wait(self, seconds: float) -> None:
        """Let the page work, and take in its events."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._receive(left)

    @property
    def requests(self) -> list[str]:
        """Every address that was asked for, data inside the page excepted."""
        sent = (event["params"]["request"]["url"] for event in self.events
                if event["method"] == "Network.requestWillBeSent")  # fmt: skip
        return [address for address in sent if not address.startswith("data:")]

    @property
    def complaints(self) -> list[str]:
        """Errors and warnings of the page and of the browser about it."""
        found = [event for event in self.events if event["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]
        found += [
            event
            for event in self.events
            if event["method"] == "Runtime.consoleAPICalled" and event["params"]["type"] in ("error", "warning")
        ]
        return [json.dumps(event["params"])[:300] for event in found]

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command, and its answer."""
        self._calls += 1
        number = self._calls
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for answer in self._receive(1.0):
                if answer.get("id") == number:
                    assert "error" not in answer, answer
                    result: dict[str, Any] = answer["result"]
                    return result
        raise TimeoutError(method)

    def _receive(self, seconds: float) -> list[dict[str, Any]]:
        if select.select([self._from], [], [], seconds)[0]:
            self._buffer += os.read(self._from, 1 << 20)
        *whole, self._buffer = self._buffer.split(b"\0")
        messages = [json.loads(text) for text in whole]
        self.events += [message for message in messages if "method" in message]
        return messages


@contextmanager
def browser_page() -> Iterator[Page]:
    """A fresh browser with one page, gone afterwards."""
    program = installed()
    assert program is not None
    read_commands, write_commands = os.pipe()
    read_answers, write_answers = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # Chromium reads commands from descriptor 3 and answers on descriptor 4.
        script = f'exec "$0" "$@" 3<&{read_commands} 4>&{write_answers}'
        process = subprocess.Popen(
            ["bash", "-c", script, program, *QUIET, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(read_commands, write_answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(read_commands)
        os.close(write_answers)
        try:
            yield Page(write_commands, read_answers)
        finally:
            process.kill()
            process.wait()
            os.close(write_commands)
            os.close(read_answers)
