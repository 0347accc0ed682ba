"""Disks and limits that fail during training: one line, and what was saved can be resumed bit by bit."""

import errno
import os
import random
import resource
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from cortexzoo.harness.fuzzing.campaign import CaseResult, Command, Report, Rules, set_options
from cortexzoo.harness.fuzzing.killing import (
    EXPERIMENT,
    differing,
    failing_from,
    in_a_process,
    record,
    resume,
    the_run,
)
from cortexzoo.harness.fuzzing.kills import NAMES, undisturbed
from cortexzoo.specs import ExperimentSpec, load_experiment

STEPS = "recipe.steps=20"
ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.EACCES)
"""A full disk or quota, one that became read-only or broken, no descriptors or rights."""
RULES = Rules(codes=frozenset({0, 2, 3}), seconds=300.0, megabytes=1000.0)
LIMITS: dict[str, tuple[int, int]] = {
    "RLIMIT_FSIZE": (0, 60_000),
    "RLIMIT_NOFILE": (3, 24),
    "RLIMIT_DATA": (50 << 20, 400 << 20),
}


def attacked(seed: int, cases: int, folder: Path, command: Command, watch: Callable[[Report], None]) -> Report:
    """Train in `folder` with calls that fail from one of them on, or under a limit of the system.

    Each ends with 0, 2 or 3 and a plain line; then, without the fault, a run that was begun is resumed and must end as
    an undisturbed one. Equal seeds give equal cases.
    """
    report = Report("disk", seed)
    experiment = load_experiment("cortexgpt-stable", [*EXPERIMENT, STEPS])
    expected, calls = undisturbed(experiment, folder / "whole", 1)
    for number in range(cases):
        dice = random.Random(f"{seed}/{number}")
        outcome, breaches = _case(dice, experiment, folder / str(number), command, calls, expected)
        report.add(number, outcome, breaches)
        watch(report)
    return report


def _case(
    dice: random.Random, experiment: ExperimentSpec, runs: Path, command: Command, calls: int, expected: dict[str, Any]
) -> tuple[CaseResult, list[str]]:
    runs.mkdir()
    sets = set_options([*EXPERIMENT, STEPS])
    arguments = ["train", "cortexgpt-stable", *sets, "--trackers=jsonl", "--no-check", "--runs", str(runs)]
    words = runs / "words"
    began = time.perf_counter()
    if dice.random() < 0.7:
        call, number = dice.randint(1, calls), dice.choice(ERRORS)
        fault = f"{errno.errorcode[number]} from call {call}"
        code = in_a_process(failing_from, call, number, NAMES, _called, words, command, arguments)
    else:
        name = dice.choice(list(LIMITS))
        most = dice.randint(*LIMITS[name])
        fault = f"{name} {most}"
        code = in_a_process(limited, name, most, words, command, arguments)
    seconds = time.perf_counter() - began
    outcome = CaseResult((fault,), code, "", words.read_text(errors="replace") if words.exists() else "", seconds, 0.0)
    breaches = [f"{fault}: {breach}" for breach in outcome.breaches(RULES)]
    run = the_run(runs)
    if run is not None and not run.finished:
        in_a_process(resume, experiment, run.path)
    if run is not None:
        apart = differing(record(run), expected) if run.finished else ["not finished"]
        breaches += [f"{fault}, resumed: {name}" for name in apart]
    return outcome, breaches


def limited(name: str, most: int, words: Path, command: Command, arguments: Sequence[str]) -> None:
    """Call the command under a limit, its standard error in `words`; of memory, `most` bytes more than are in use."""
    with words.open("w") as errors, open(os.devnull, "w") as nothing:  # opened before, as a terminal is
        kind = getattr(resource, name)
        if name == "RLIMIT_DATA":
            most += _data_bytes()
        resource.setrlimit(kind, (most, resource.getrlimit(kind)[1]))
        _exit_with(command, arguments, nothing, errors)


def _called(words: Path, command: Command, arguments: Sequence[str]) -> None:
    with words.open("w") as errors, open(os.devnull, "w") as nothing:
        _exit_with(command, arguments, nothing, errors)


def _exit_with(command: Command, arguments: Sequence[str], nothing: Any, errors: Any) -> None:
    with redirect_stdout(nothing), redirect_stderr(errors):
        code = command(arguments)
    errors.flush()
    os._exit(code)


def _data_bytes() -> int:
    """What counts for the limit already."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) << 10
    return 0
