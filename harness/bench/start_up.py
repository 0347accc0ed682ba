"""Start-up time of the commands that only read specs, relative to that of the interpreter.

Commands take turns, so that other work on the machine slows all of them alike. Printed are medians of the wall-clock
time, and their ratios to `python -c pass`.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

EMPTY = "python -c pass"
COMMANDS: Mapping[str, Sequence[str]] = {
    EMPTY: ("-c", "pass"),
    "cortexzoo --help": ("-m", "cortexzoo", "--help"),
    "cortexzoo list": ("-m", "cortexzoo", "list"),
    "cortexzoo validate robust": ("-m", "cortexzoo", "validate", "robust"),
    "cortexzoo validate cortexgpt-stable": ("-m", "cortexzoo", "validate", "cortexgpt-stable"),
}
TARGETS = {
    "cortexzoo --help": 20,
    "cortexzoo list": 35,
    "cortexzoo validate robust": 35,
    "cortexzoo validate cortexgpt-stable": 35,
}
"""The most that each may take, in times of the empty program."""


def medians(rounds: int) -> dict[str, float]:
    """Seconds of each command, the first round not counted: it may compile sources."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds + 1):
        for name, arguments in COMMANDS.items():
            begun = time.perf_counter()
            subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
            times[name].append(time.perf_counter() - begun)
    return {name: statistics.median(found[1:]) for name, found in times.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print one row a command."""
    parser = argparse.ArgumentParser(prog="cortexzoo bench start-up", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15, help="runs of each command (default: 15)")
    found = medians(parser.parse_args(arguments).rounds)
    rows = [
        (
            name,
            f"{1000 * seconds:.0f}",
            f"{seconds / found[EMPTY]:.1f} ×",
            f"{TARGETS[name]} ×" if name in TARGETS else "",
        )
        for name, seconds in found.items()
    ]
    table = Table("command", "ms", "ratio", "at most", box=None)
    for row in rows:
        table.add_row(*row)
    Console(width=100).print(table)
    return 0
