"""A plugin for pytest: plants one generated change before tests are collected, and notes what became of each test.

It is loaded in processes of its own and reads two environment variables. Nothing of `cortexzoo.zoo` is imported before
the session starts, so that a `conftest.py` may still prepare its import.
"""

import json
import os
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from cortexzoo.harness.regression.planting import NOTES, PLANTED

if TYPE_CHECKING:
    import pytest

_notes: dict[str, dict[str, float | bool]] = {}
"""By node id: `seconds`, and whether it `passed`."""


def pytest_sessionstart(session: "pytest.Session") -> None:
    """Put the change in place until the session ends."""
    if name := os.environ.get(PLANTED):
        from cortexzoo.harness.checking.mutants.generated import site_named

        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
        planted = ExitStack()
        planted.enter_context(site_named(name).seeded())
        session.config.add_cleanup(planted.close)


def pytest_runtest_logreport(report: "pytest.TestReport") -> None:
    """Add a phase of a test."""
    note = _notes.setdefault(report.nodeid, {"seconds": 0.0, "passed": True})
    note["seconds"] += report.duration
    # A skipped test asserts nothing, and a failure that is expected says nothing of a change.
    note["passed"] = note["passed"] and report.passed and not hasattr(report, "wasxfail")


def pytest_sessionfinish(session: "pytest.Session") -> None:
    """Write the notes, in the process that has them all."""
    if not hasattr(session.config, "workerinput") and (path := os.environ.get(NOTES)):
        Path(path).write_text(json.dumps(_notes), encoding="utf-8")


def _end_with(parent: int) -> None:
    """A change may make a test endless: it must not outlive the campaign."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
