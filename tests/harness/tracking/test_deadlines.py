"""What does not return in time is left behind, and the program still ends."""

import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from cortexzoo.harness.tracking import base, deadlines
from cortexzoo.harness.tracking.deadlines import DeadlineMissed, call_within, is_stuck
from cortexzoo.harness.tracking.jsonl import JsonlSink
from cortexzoo.harness.tracking.raising import RaisingSink


@pytest.fixture(autouse=True)
def nothing_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of calls left behind belongs to the process; each test has its own."""
    monkeypatch.setattr(deadlines, "_left_behind", [])


def test_values_and_errors_come_through() -> None:
    assert call_within(5, "adding", lambda: 1 + 1) == 2
    with pytest.raises(ZeroDivisionError):
        call_within(5, "dividing", lambda: 1 // 0)
    assert not is_stuck()


def test_a_call_that_does_not_return_is_left_behind() -> None:
    released = threading.Event()
    with pytest.raises(DeadlineMissed, match=r"^waiting took more than 0\.1 s$"):
        call_within(0.1, "waiting", released.wait)
    released.set()
    assert is_stuck()


def test_a_sink_that_never_closes_costs_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    class Hanging(RaisingSink):
        def close(self) -> None:
            released.wait()

    monkeypatch.setattr(base, "CLOSING", 0.1)
    lines: list[str] = []
    recorder = base.CompositeRecorder(JsonlSink(tmp_path), warn=lines.append)
    recorder.attach("faulty", lambda: Hanging(10))
    recorder.close()
    released.set()
    assert lines == ["faulty tracking disabled after an error; training continues: closing faulty took more than 0.1 s"]
    assert not recorder.working


@pytest.mark.parametrize("code", [0, 3])
def test_a_program_with_a_call_left_behind_ends_with_its_exit_code(code: int) -> None:
    program = textwrap.dedent(
        f"""
        import atexit, threading
        from cortexzoo.harness.tracking.deadlines import DeadlineMissed, call_within, leave
        atexit.register(threading.Event().wait)
        try:
            call_within(0.1, "waiting", threading.Event().wait)
        except DeadlineMissed as problem:
            print(problem)
        leave({code})
        """
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (code, "waiting took more than 0.1 s\n"), ended.stderr


def test_the_exit_code_is_that_of_the_command() -> None:
    command = [sys.executable, "-m", "cortexzoo", "show", "no-such-spec"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2 and "no-such-spec" in ended.stderr
