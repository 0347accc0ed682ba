"""Kills at random system calls: a resumed run ends bit by bit as an undisturbed one, or is refused in one line."""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cortexzoo.harness.fuzzing.campaign import CaseResult, Report
from cortexzoo.harness.fuzzing.killing import (
    CALLS,
    EXPERIMENT,
    counting,
    differing,
    in_a_process,
    record,
    refusal_in,
    resume,
    the_run,
    train,
    until_call,
)
from cortexzoo.harness.runs.run_folder import CHECKPOINTS
from cortexzoo.specs import ExperimentSpec, load_experiment
from cortexzoo.zoo.training.policies.checkpointing import LAST, OLDER

STEPS = "recipe.steps=20"
NAMES = (*CALLS, "write")
MOST_KILLS = 4
"""Of one run: the first, and those of its resumes."""
TOGETHER = 10
"""Every so many cases two processes train together."""


def attacked(seed: int, cases: int, folder: Path, watch: Callable[[Report], None]) -> Report:
    """Kill runs in `folder` in their calls that write, rename, sync or remove, and resume them.

    A resume may be killed as well, and may begin from an older checkpoint. Equal seeds give equal cases.
    """
    report = Report("kills", seed)
    experiment = load_experiment("cortexgpt-stable", [*EXPERIMENT, STEPS])
    expected: dict[int, dict[str, Any]] = {}
    calls: dict[int, int] = {}
    for number in range(cases):
        dice = random.Random(f"{seed}/{number}")
        count = 2 if number % TOGETHER == TOGETHER - 1 else 1
        if count not in expected:
            expected[count], calls[count] = undisturbed(experiment, folder / f"of-{count}", count)
        began = time.perf_counter()
        code, moments, breaches = _case(dice, experiment, folder / str(number), count, calls[count], expected[count])
        seconds = time.perf_counter() - began
        report.add(number, CaseResult(tuple(moments), code, "", "", seconds, 0.0), breaches)
        watch(report)
    return report


def undisturbed(experiment: ExperimentSpec, folder: Path, count: int) -> tuple[dict[str, Any], int]:
    """The record that every case must end with, and the number of calls until then."""
    folder.mkdir()
    tally = folder / "tally"
    in_a_process(_counted, tally, experiment, folder / "runs", count=count)
    run = the_run(folder / "runs")
    assert run is not None and run.finished
    return record(run), tally.stat().st_size


def _counted(tally: Path, experiment: ExperimentSpec, runs: Path) -> None:
    import os

    own = tally if os.environ.get("RANK", "0") == "0" else tally.with_suffix(".other")
    counting(own, NAMES, train, experiment, runs)


def _case(
    dice: random.Random, experiment: ExperimentSpec, runs: Path, count: int, calls: int, expected: dict[str, Any]
) -> tuple[int, list[str], list[str]]:
    """Exit code, the moments of the kills, and what was wrong."""
    words = runs.with_suffix(".txt")
    moments = []
    for _ in range(dice.randint(1, MOST_KILLS)):
        call = dice.randint(1, calls)
        moments.append(f"call {call}")
        in_a_process(until_call, call, NAMES, refusal_in, words, *_next(dice, experiment, runs, moments), count=count)
        if (run := the_run(runs)) is not None and run.finished:
            break
    if (run := the_run(runs)) is None or not run.finished:
        in_a_process(refusal_in, words, *_next(dice, experiment, runs, moments), count=count)
    run = the_run(runs)
    if run is None or not run.finished:
        line = words.read_text() if words.exists() else ""
        return 2, moments, [] if line and "\n" not in line else [f"not finished: {line or 'no word'}"]
    return 0, moments, [f"{name} differs" for name in differing(record(run), expected)]


def _next(dice: random.Random, experiment: ExperimentSpec, runs: Path, moments: list[str]) -> tuple[Any, ...]:
    """Begin, where there is no run yet, or resume, now and then from an older checkpoint."""
    run = the_run(runs)
    if run is None:
        return train, experiment, runs
    older = sorted(path.name for path in (run.path / CHECKPOINTS).glob(f"{OLDER}*"))
    checkpoint = dice.choice(older) if older and dice.random() < 0.2 else LAST
    if checkpoint != LAST:
        moments.append(f"from {checkpoint}")
    return resume, experiment, run.path, checkpoint
