"""`start-up`: commands that only read specs, from start to end, beside a program that imports torch and ends."""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from cortexzoo.harness.bench.benchmark import Case

EMPTY = ("-c", "pass")
PEER = ("-c", "import torch")
COMMANDS: Mapping[str, Sequence[str]] = {
    "help": ("-m", "cortexzoo", "--help"),
    "list": ("-m", "cortexzoo", "list"),
    "validate-recipe": ("-m", "cortexzoo", "validate", "robust"),
    "validate-experiment": ("-m", "cortexzoo", "validate", "cortexgpt-stable"),
}


class StartUp:
    """Wall-clock time. `times_an_empty_program`: relative to `python -c pass`."""

    headline = ""

    def cases(self, quick: bool) -> Sequence[Case]:
        return [
            Case(name, program(command), program(PEER), figures=beside_nothing(command))
            for name, command in COMMANDS.items()
        ]


def program(arguments: Sequence[str]) -> Callable[[], float]:
    """Seconds of a whole process."""

    def turn() -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - began

    return turn


def beside_nothing(command: Sequence[str]) -> Callable[[], Mapping[str, float]]:
    def measure() -> dict[str, float]:
        ratios = sorted(program(command)() / program(EMPTY)() for _ in range(5))
        return {"times_an_empty_program": ratios[2]}

    return measure
