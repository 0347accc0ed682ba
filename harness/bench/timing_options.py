"""The command line of the benchmarks that time operations in rounds."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class TimingOptions:
    """How thoroughly to time, on how many threads, and where the figures go."""

    quick: bool
    rounds: int
    threads: int
    json: Path | None


def timing_options(
    arguments: Sequence[str] | None, name: str, description: str, *, rounds: int, quick_rounds: int, round_is: str
) -> TimingOptions:
    """Reads them and sets torch's threads; ends the program with one line and code 2 when one is out of range."""
    parser = argparse.ArgumentParser(prog=f"cortexzoo bench {name}", description=description)
    parser.add_argument("--quick", action="store_true", help="few rounds and no long sequences")
    parser.add_argument("--rounds", type=int, help=f"{round_is} ({rounds}; {quick_rounds} if quick)")
    parser.add_argument("--threads", type=int, default=1, help="threads (1)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    given = parser.parse_args(arguments)
    wanted = given.rounds if given.rounds is not None else quick_rounds if given.quick else rounds
    if wanted < 1 or given.threads < 1:
        parser.error(f"--rounds and --threads must be at least 1, got {wanted} and {given.threads}")
    torch.set_num_threads(given.threads)
    return TimingOptions(given.quick, wanted, given.threads, given.json)
