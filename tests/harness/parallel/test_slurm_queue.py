"""What is concluded from the answers of `squeue`, which a small program gives here."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cortexzoo.harness.parallel import slurm_queue
from cortexzoo.harness.parallel.slurm_queue import Queue

Says = Callable[[str], None]


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Says:
    """Sets what `squeue` prints from then on."""
    answer, program = tmp_path / "answer", tmp_path / "squeue"
    program.write_text(f"#!{sys.executable}\nprint(open({str(answer)!r}).read())\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(slurm_queue, "ASK_EVERY", 0.0)
    monkeypatch.setattr(slurm_queue.subprocess, "run", patient(slurm_queue.subprocess.run))
    return lambda text: answer.write_text(text) and None


def patient(run: Callable[..., object]) -> Callable[..., object]:
    return lambda *args, **options: run(*args, **{**options, "timeout": 60})


@pytest.mark.parametrize("state", ["FAILED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "CANCELLED", "PREEMPTED"])
def test_a_job_has_ended_when_two_answers_in_a_row_say_so(says: Says, state: str) -> None:
    queue = Queue()
    says("7_0|RUNNING|None\n7_1|RUNNING|None")
    assert queue.look(["7_0", "7_1"]) == ({}, [])
    says(f"7_0|{state}|None\n7_1|RUNNING|None")
    assert queue.look(["7_0", "7_1"]) == ({}, [])
    assert queue.look(["7_0", "7_1"]) == ({"7_0": state}, [])


def test_a_job_that_is_put_into_the_queue_again_has_not_ended(says: Says) -> None:
    queue = Queue()
    for state in ("PREEMPTED", "PENDING", "NODE_FAIL", "RUNNING"):
        says(f"8|{state}|None")
        assert queue.look(["8"]) == ({}, [])


def test_a_job_that_slurm_no_longer_knows_has_ended(says: Says) -> None:
    queue = Queue()
    says("")
    assert queue.look(["9"]) == ({}, [])
    assert queue.look(["9"]) == ({"9": "it is no longer in the queue"}, [])


def test_without_an_answer_nothing_is_concluded(says: Says, tmp_path: Path) -> None:
    queue = Queue()
    (tmp_path / "squeue").write_text("#!/bin/sh\nexit 1\n")
    assert [queue.look(["9"]) for _ in range(3)] == [({}, [])] * 3
    (tmp_path / "squeue").unlink()
    assert queue.look(["9"]) == ({}, [])


def test_a_reason_to_wait_that_does_not_end_by_itself_is_told_once(says: Says) -> None:
    queue = Queue()
    says("3_0|PENDING|PartitionTimeLimit\n3_1|PENDING|PartitionTimeLimit\n3_2|PENDING|Priority\n4|RUNNING|None")
    jobs = ["3_0", "3_1", "3_2", "4"]
    assert queue.look(jobs) == ({}, ["2 of 4 jobs wait: Slurm says PartitionTimeLimit"])
    assert queue.look(jobs) == ({}, [])
    says("3_0|PENDING|JobHeldUser")
    assert queue.look(["3_0"])[1] == ["1 of 1 jobs wait: Slurm says JobHeldUser"]


def test_slurm_is_asked_seldom(says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_queue, "ASK_EVERY", 1000.0)
    queue = Queue()
    says("5|FAILED|None")
    assert [queue.look(["5"]) for _ in range(3)] == [({}, [])] * 3
