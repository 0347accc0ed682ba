"""One pool for everything: what was not begun when something went wrong never is, and a killed parent leaves nobody."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch

import cortexzoo
from cortexzoo.harness.parallel.workers import ProcessLost, in_processes
from cortexzoo.zoo.errors import TrainingStopped

WAIT = 60.0
"""Seconds within which a process must have begun, or ended; it takes a few."""
ROOT = Path(__file__).parents[3]
PARENT = """
import sys
from functools import partial
from pathlib import Path
from cortexzoo.harness.parallel.workers import in_processes
from tests.harness.parallel.test_workers import sleep_on

if __name__ == "__main__":
    list(in_processes([(0, partial(sleep_on, Path(sys.argv[1])))], 1))
"""


def mark(folder: Path, number: int) -> tuple[int, int]:
    """Process and threads."""
    (folder / str(number)).touch()
    return os.getpid(), torch.get_num_threads()


def give_up(step: int) -> int:
    raise TrainingStopped(step, "storm")


def die() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def sleep_on(pid: Path) -> None:
    pid.with_suffix(".new").write_text(str(os.getpid()))
    pid.with_suffix(".new").rename(pid)
    time.sleep(10 * WAIT)


def test_each_task_comes_back_with_its_key_from_processes_that_do_several(tmp_path: Path) -> None:
    done = dict(in_processes([(key, partial(mark, tmp_path, n)) for n, key in enumerate("abc")], 1, threads=3))
    assert set(done) == {"a", "b", "c"} and len(list(tmp_path.iterdir())) == 3
    ((process, threads),) = set(done.values())
    assert process != os.getpid() and threads == 3


def test_after_an_error_nothing_is_begun_and_it_arrives_as_it_was(tmp_path: Path) -> None:
    tasks = [(0, partial(give_up, 7)), *((n, partial(mark, tmp_path, n)) for n in range(1, 6))]
    with pytest.raises(TrainingStopped, match="stopped at step 7: storm") as stopped:
        list(in_processes(tasks, 1))
    assert (stopped.value.step, stopped.value.cause) == (7, "storm")
    assert list(tmp_path.iterdir()) == []


def test_when_nobody_reads_on_nothing_is_begun(tmp_path: Path) -> None:
    results = in_processes([(n, partial(mark, tmp_path, n)) for n in range(5)], 1, fresh=True)
    assert next(results)[0] == 0
    results.close()  # type: ignore[attr-defined]
    assert [path.name for path in tmp_path.iterdir()] == ["0"]


def test_a_process_that_is_killed_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        ProcessLost,
        match=r"^a worker died \(out of memory\?\); retry with fewer --jobs: [^\n]*$",
    ):
        list(in_processes([(0, die), (1, partial(mark, tmp_path, 1))], 1))
    assert list(tmp_path.iterdir()) == []


def test_a_process_ends_when_the_one_that_began_it_is_killed(tmp_path: Path) -> None:
    script, file = tmp_path / "parent.py", tmp_path / "pid"
    script.write_text(PARENT)
    path = {"PYTHONPATH": f"{Path(cortexzoo.__file__).parents[1]}{os.pathsep}{ROOT}"}
    parent = subprocess.Popen([sys.executable, str(script), str(file)], env={**os.environ, **path})
    try:
        wait_until(file.exists)
    finally:
        parent.kill()
        parent.wait()
    pid = int(file.read_text())
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def wait_until(so: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT
    while not so():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_there_is_no_other_pool() -> None:
    """Each of several had one of the faults above."""
    folder = Path(cortexzoo.__file__).parent / "harness"
    pools = [file for file in folder.rglob("*.py") if "ProcessPoolExecutor" in file.read_text(encoding="utf-8")]
    assert [file.name for file in pools] == ["workers.py"]
