"""What Slurm says of jobs that wait or are gone, asked of `squeue`, which needs no accounting as `sacct` does."""

import getpass
import subprocess
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

ASK_EVERY = 20.0
"""Seconds between two questions: every user's questions are answered by one program of the cluster."""
ENDED = frozenset((
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
    "TIMEOUT",
))  # fmt: skip
"""States in which a job does nothing more, unless Slurm puts it into the queue again."""
ORDINARY = frozenset(("None", "Resources", "Priority", "JobArrayTaskLimit", "BeginTime", "Cleaning", "Prolog"))
"""Reasons of waiting that end by themselves."""


class Queued(NamedTuple):
    """A job in the queue, with the reason why it waits, both in Slurm's words."""

    state: str
    reason: str


class Queue:
    """The user's jobs, asked for every `ASK_EVERY` seconds at most."""

    def __init__(self) -> None:
        self._asked = time.monotonic()
        self._ended: dict[str, str] = {}
        self._told: set[str] = set()

    def look(self, jobs: Iterable[str]) -> tuple[Mapping[str, str], list[str]]:
        """Which of `jobs` have ended, with their state, and new reasons of waiting that do not end by themselves.

        A job has ended when two questions in a row say so: Slurm may put one into the queue again, and its result may
        come later than its end where folders are shared. Without an answer from Slurm nothing has changed.
        """
        if time.monotonic() - self._asked < ASK_EVERY:
            return {}, []
        self._asked = time.monotonic()
        if (queue := _queue()) is None:
            return {}, []
        states = {job: queue.get(job, Queued("it is no longer in the queue", "None")) for job in jobs}
        ended = {job: each.state for job, each in states.items() if job not in queue or each.state in ENDED}
        twice = {job: state for job, state in ended.items() if job in self._ended}
        self._ended = ended
        return twice, self._new_reasons(states)

    def _new_reasons(self, states: Mapping[str, Queued]) -> list[str]:
        reasons = [each.reason for each in states.values() if each.state == "PENDING" and each.reason not in ORDINARY]
        new = [reason for reason in dict.fromkeys(reasons) if reason not in self._told]
        self._told.update(new)
        return [f"{reasons.count(reason)} of {len(states)} jobs wait: Slurm says {reason}" for reason in new]


def _queue() -> dict[str, Queued] | None:
    """Every job of this user that Slurm still knows, by its id (`12`, `12_0`); None without an answer."""
    command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%r", f"--user={getpass.getuser()}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_EVERY, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    rows = [line.split("|") for line in done.stdout.splitlines() if line.count("|") == 2]
    return {job: Queued(state, reason) for job, state, reason in rows}
