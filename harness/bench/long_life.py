"""Trains, checks, sleeps and compares in one process for a long time: what it takes must not grow.

A round trains a small CortexGPT with Aim and a small hybrid that sleeps, checks the first, compares the two and lists
all runs. After each round memory, file descriptors, threads and temporary files are counted.
"""

import gc
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import median

import psutil

from cortexzoo.harness.fuzzing.campaign import Command, set_options

CORTEXGPT = (
    "variant.hidden_size=16", "variant.columns.num_columns=2", "recipe.steps=6", "recipe.batch_size=2",
    "recipe.sequence_length=16", "recipe.consolidation.every=3", "recipe.monitor.validation_sequences=4",
)  # fmt: skip
HYBRID = (
    "variant=cortex-v2-hybrid-scratch", "variant.backbone.architecture.vocab_size=512",
    "variant.backbone.architecture.hidden_size=16", "variant.backbone.architecture.num_layers=1",
    "variant.mixer.head_dim=8", "recipe.steps=4", "recipe.batch_size=4", "recipe.objective.in_chunk={kind: none}",
    "recipe.objective.stages=[{gaps: [0, 1], tokens_per_step: 1024, samples_per_gap: 2}]", "recipe.sleep.every=2",
    "recipe.sleep.steps=2", "recipe.monitor.validation_sequences=4",
)  # fmt: skip
FIRST = 1 / 4
"""Of the rounds, in which caches fill; what comes after is compared, its first third with its last."""
MORE_MEMORY = 1.05
"""The most that memory may grow from the first third to the last."""
UNITS = ("MB", "descriptors", "threads", "temporary files", "seconds a round")


@dataclass(frozen=True)
class Taken:
    """What the process had after a round."""

    megabytes: float
    descriptors: int
    threads: int
    temporary: int
    seconds: float
    """Of the round."""


class CommandFailed(Exception):
    """A command of a round ended with another exit code than 0 or 1."""


def lived(command: Command, minutes: float, runs: int, folder: Path, report: Callable[[str], None]) -> list[Taken]:
    """Rounds in `folder` until so many minutes have passed and so many runs been trained. Raises `CommandFailed`."""
    temporary = folder / "temporary"
    temporary.mkdir()
    before, tempfile.tempdir = tempfile.tempdir, str(temporary)
    found: list[Taken] = []
    began = time.monotonic()
    try:
        while time.monotonic() - began < 60 * minutes or 2 * len(found) < runs:
            started = time.monotonic()
            _round(command, len(found), folder / "runs")
            found.append(_taken(temporary, time.monotonic() - started))
            report(f"{2 * len(found)} runs, {_row(found[-1])}")
    finally:
        tempfile.tempdir = before
    return found


def thirds(found: Sequence[Taken]) -> tuple[list[float], list[float]]:
    """Medians of the first and of the last third, without the rounds in which caches fill."""
    steady = [astuple(each) for each in found[int(len(found) * FIRST) :]]
    third = max(len(steady) // 3, 1)
    return [median(column) for column in zip(*steady[:third], strict=True)], [
        median(column) for column in zip(*steady[-third:], strict=True)
    ]


def grown(found: Sequence[Taken]) -> list[str]:
    """What grew, in words. Time does not count: a folder of many runs takes longer to list."""
    first, last = thirds(found)
    words = [f"{last[0]:.0f} MB after {first[0]:.0f} MB"] if last[0] > MORE_MEMORY * first[0] else []
    return words + [
        f"{after:.0f} {unit} after {before:.0f}"
        for unit, before, after in zip(UNITS[1:4], first[1:4], last[1:4], strict=True)
        if after > before
    ]


def _round(command: Command, number: int, runs: Path) -> None:
    folder, seed = ["--runs", str(runs)], f"seed={number}"
    cortexgpt, hybrid = set_options([*CORTEXGPT, seed]), set_options([*HYBRID, seed])
    _call(command, ["train", "cortexgpt-stable", "--no-check", *cortexgpt, *folder])
    _call(command, ["check", "latest", "--budget", "1s", *folder])
    _call(command, ["train", "cortex-v2-hybrid", "--no-check", "--trackers=jsonl", *hybrid, *folder])
    both = [str(max(of.glob("[0-9]*"))) for of in (runs / "cortexgpt-stable", runs / "cortex-v2-hybrid")]
    _call(command, ["compare", *both, "--no-check", "--allow-different", *folder])
    _call(command, ["runs", *folder])


def _call(command: Command, arguments: Sequence[str]) -> None:
    code = command(arguments)
    if code not in (0, 1):
        raise CommandFailed(f"cortexzoo {' '.join(arguments)}: exit code {code}")


def _taken(temporary: Path, seconds: float) -> Taken:
    gc.collect()
    process = psutil.Process(os.getpid())
    return Taken(
        process.memory_info().rss / 1e6,
        process.num_fds(),
        process.num_threads(),
        sum(1 for _ in temporary.rglob("*")),
        seconds,
    )


def _row(taken: Taken) -> str:
    return ", ".join(f"{value:.0f} {unit}" for value, unit in zip(astuple(taken), UNITS, strict=True))
